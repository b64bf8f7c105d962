//! Sequential direct reads of 1 MiB, four in flight, into memory of several kinds, against the page
//! cache by `pread`: rounds of all kinds in turn, and the median of each.
//!
//! `cargo run --release --example sequential -- FILE [ROUNDS]`; the file has 64 MiB at least, and 1
//! GiB of it is read. Without a file, one of 64 MiB is made here and removed in the end, which is
//! little for figures.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nofault::{AlignedBuf, Engine, File, IoBufMut};

const BLOCK: usize = 1 << 20;
const DEPTH: usize = 4;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The processor time of this process, those of the kernel's workers for it included.
fn cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the struct is this function's, and all zeroes are a value of it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time =
        |t: libc::timeval| Duration::from_micros(t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Reads all blocks; each buffer is used again as soon as it is back.
fn read<B: IoBufMut>(engine: &Engine, file: &File, blocks: usize, buffers: Vec<B>) -> Result<()> {
    let mut queue = nofault::Queue::new(engine);
    let mut next = 0;
    for buffer in buffers {
        queue.read_at(file, buffer, (next * BLOCK) as u64, ());
        next += 1;
    }
    engine.block_on(async {
        while let Some(done) = queue.next().await {
            if done.result? != BLOCK {
                return Err("a short read".into());
            }
            if next < blocks {
                queue.read_at(file, done.buffer, (next * BLOCK) as u64, ());
                next += 1;
            }
        }
        Ok(())
    })
}

fn page_cache(path: &str, blocks: usize) -> Result<()> {
    let file = fs::File::open(path)?;
    let mut buffer = AlignedBuf::new(BLOCK)?;
    for block in 0..blocks {
        file.read_exact_at(&mut buffer, (block * BLOCK) as u64)?;
    }
    Ok(())
}

fn forget(path: &str) -> Result<()> {
    let file = fs::File::open(path)?;
    file.sync_all()?;
    // SAFETY: the call takes no pointer.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    Ok(())
}

fn some<B>(make: impl FnMut() -> std::io::Result<B>) -> Result<Vec<B>> {
    Ok(std::iter::repeat_with(make)
        .take(DEPTH)
        .collect::<std::io::Result<_>>()?)
}

fn populated(mut buffer: AlignedBuf) -> std::io::Result<AlignedBuf> {
    buffer.populate()?;
    Ok(buffer)
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let Some(path) = arguments.next() {
        let rounds = arguments.next().map_or(Ok(9), |text| text.parse())?;
        return measure(&path, rounds);
    }
    let path = "sequential.dat";
    fs::write(path, vec![1; 64 * BLOCK])?;
    fs::File::open(path)?.sync_all()?;
    let measured = measure(path, 1);
    fs::remove_file(path)?;
    measured
}

fn measure(path: &str, rounds: usize) -> Result<()> {
    let blocks = (fs::metadata(path)?.len() as usize).min(1 << 30) / BLOCK;
    let engine = Engine::new()?;
    let small = Engine::builder().huge_pages(false).build()?;
    let file = File::open(&engine, path)?;
    let small_file = File::open(&small, path)?;
    println!(
        "{}; huge pages: {}",
        engine.info(),
        nofault::memory::huge_pages()
    );

    type Way<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);
    let from = |engine: &Engine| -> Result<Vec<nofault::PoolBuf>> {
        let pool = engine.pool(DEPTH, BLOCK)?;
        Ok(std::iter::from_fn(|| pool.get()).collect())
    };
    let ways: Vec<Way> = vec![
        ("page cache, pread", Box::new(|| page_cache(path, blocks))),
        (
            "pool, as it comes",
            Box::new(|| read(&engine, &file, blocks, from(&engine)?)),
        ),
        (
            "pool, huge_pages(false)",
            Box::new(|| read(&small, &small_file, blocks, from(&small)?)),
        ),
        (
            "AlignedBuf::new",
            Box::new(|| {
                read(
                    &engine,
                    &file,
                    blocks,
                    some(|| populated(AlignedBuf::new(BLOCK)?))?,
                )
            }),
        ),
        (
            "AlignedBuf::huge",
            Box::new(|| {
                read(
                    &engine,
                    &file,
                    blocks,
                    some(|| populated(AlignedBuf::huge(BLOCK)?))?,
                )
            }),
        ),
        (
            "AlignedBuf::ordinary",
            Box::new(|| {
                read(
                    &engine,
                    &file,
                    blocks,
                    some(|| populated(AlignedBuf::ordinary(BLOCK)?))?,
                )
            }),
        ),
    ];
    let mut measured: Vec<Vec<(f64, f64)>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, way), measured) in ways.iter().zip(&mut measured) {
            forget(path)?;
            let (start, before) = (Instant::now(), cpu());
            way()?;
            let gib = (blocks * BLOCK) as f64 / (1u64 << 30) as f64;
            measured.push((
                gib / start.elapsed().as_secs_f64(),
                (cpu() - before).as_secs_f64() * 1e6 / blocks as f64,
            ));
        }
    }
    for ((name, _), mut measured) in ways.iter().zip(measured) {
        let mut median = |by: fn(&(f64, f64)) -> f64| {
            measured.sort_by(|a, b| by(a).total_cmp(&by(b)));
            by(&measured[measured.len() / 2])
        };
        println!(
            "{name:24} {:5.2} GiB/s {:6.1} us of CPU a request",
            median(|m| m.0),
            median(|m| m.1)
        );
    }
    println!("{}", engine.stats());
    Ok(())
}
