//! What the benches share: memory in a known state, files, the bare peers, and numbers taken turn
//! by turn.
//!
//! May know: libc, the io-uring crate, criterion. Must not know: nofault, so that the peers can't
//! profit from it.
//!
//! `NOFAULT_DIR` names the directory of the files, cargo's own target directory unless told.
//! `NOFAULT_ROUNDS` says how often the peers take turns for the ratios printed at the end; 0 leaves
//! them out. A filter that matches nothing (`cargo bench --bench hot -- '^$'`) leaves out
//! criterion's part.

#![allow(dead_code, reason = "each bench uses a part of this")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use criterion::Criterion;
use io_uring::{IoUring, opcode, squeue, types};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// How the bench was called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Numbers are wanted.
    Measure,
    /// `--test`: only whether everything runs.
    Test,
    /// `--list`: nothing may run.
    List,
}

pub(crate) fn mode() -> Mode {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    match (has("--list"), has("--test")) {
        (true, _) => Mode::List,
        (false, true) => Mode::Test,
        (false, false) => Mode::Measure,
    }
}

/// How often the peers take turns.
pub(crate) fn rounds(usual: usize) -> usize {
    let asked = std::env::var("NOFAULT_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    match mode() {
        Mode::Measure => asked.unwrap_or(usual),
        Mode::Test => 1,
        Mode::List => 0,
    }
}

/// Few samples: one iteration takes tens of milliseconds.
pub(crate) fn criterion_for_long() -> Criterion {
    let criterion = Criterion::default().sample_size(10);
    criterion
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args()
}

/// A file with data in every block, on disk; gone when dropped.
pub(crate) struct TestFile {
    path: PathBuf,
    _dir: tempfile::TempDir,
    pub(crate) bytes: usize,
}

impl TestFile {
    pub(crate) fn new(bytes: usize) -> io::Result<TestFile> {
        let parent = std::env::var_os("NOFAULT_DIR")
            .filter(|dir| !dir.is_empty())
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        std::fs::create_dir_all(&parent)?;
        let dir = tempfile::Builder::new()
            .prefix("nofault-bench-")
            .tempdir_in(parent)?;
        let path = dir.path().join("data");
        let mut file = File::create(&path)?;
        let mut random = Random::new();
        // No two blocks are alike, lest a device below makes one of them.
        let mut piece = vec![0u8; MIB];
        for start in (0..bytes).step_by(MIB) {
            piece
                .chunks_exact_mut(8)
                .for_each(|word| word.copy_from_slice(&random.next().to_ne_bytes()));
            file.write_all(&piece[..MIB.min(bytes - start)])?;
        }
        file.sync_all()?;
        Ok(TestFile {
            path,
            _dir: dir,
            bytes,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn open_direct(&self) -> io::Result<File> {
        File::options()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.path)
    }

    pub(crate) fn open_buffered(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Into the page cache with all of it.
    pub(crate) fn cache(&self) -> io::Result<()> {
        io::copy(&mut self.open_buffered()?, &mut io::sink()).map(drop)
    }

    /// Out of the page cache with it.
    pub(crate) fn evict(&self) -> io::Result<()> {
        // SAFETY: the call takes no pointer.
        match unsafe {
            libc::posix_fadvise(
                self.open_buffered()?.as_raw_fd(),
                0,
                0,
                libc::POSIX_FADV_DONTNEED,
            )
        } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Anonymous memory in small pages: where the system is set to huge ones for all, a fresh buffer
/// would cost 16 faults and show little.
pub(crate) struct Memory {
    ptr: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// No page of it is there.
    pub(crate) fn fresh(len: usize) -> io::Result<Memory> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever the kernel finds room.
        let ptr = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping just made; the advice changes no contents. EINVAL where there are no
        // huge pages anyway.
        unsafe { libc::madvise(ptr, len, libc::MADV_NOHUGEPAGE) };
        NonNull::new(ptr.cast())
            .map(|ptr| Memory { ptr, len })
            .ok_or_else(|| io::Error::other("mapped at 0"))
    }

    /// Every page of it was written.
    pub(crate) fn touched(len: usize) -> io::Result<Memory> {
        let memory = Memory::fresh(len)?;
        // SAFETY: the mapping is ours, writable, and `len` bytes long.
        unsafe { memory.ptr.write_bytes(1, len) };
        Ok(memory)
    }

    pub(crate) fn new(len: usize, state: State) -> io::Result<Memory> {
        match state {
            State::Warm => Memory::touched(len),
            State::Cold => Memory::fresh(len),
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever reads into it has ended before it is dropped.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

/// Whether the pages of a buffer are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Warm,
    Cold,
}

impl State {
    pub(crate) const BOTH: [State; 2] = [State::Warm, State::Cold];

    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Warm => "warm",
            State::Cold => "cold",
        }
    }
}

/// What one read of all of a file cost.
pub(crate) struct Elapsed {
    /// The longest call that submits.
    pub(crate) submit: Duration,
    /// From the submission to the data.
    pub(crate) total: Duration,
}

/// A ring as the io-uring crate's users write it, with the flags that nofault asks for.
pub(crate) fn bare_ring(entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_submit_all();
    match builder
        .clone()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(entries)
    {
        Ok(ring) => Ok(ring),
        // Before Linux 6.1.
        Err(_) => IoUring::new(entries),
    }
}

/// One plain READ of the whole memory, submitted and awaited by two calls, so that the first can be
/// timed.
pub(crate) fn bare_read(
    ring: &mut IoUring,
    file: &File,
    memory: &Memory,
    flags: squeue::Flags,
) -> io::Result<Elapsed> {
    let start = Instant::now();
    let mut elapsed = Elapsed {
        submit: Duration::ZERO,
        total: Duration::ZERO,
    };
    let mut done = 0;
    while done < memory.len() {
        // SAFETY: `done` is less than the memory's length.
        let to = unsafe { memory.as_ptr().add(done) };
        let read = opcode::Read::new(
            types::Fd(file.as_raw_fd()),
            to,
            (memory.len() - done) as u32,
        )
        .offset(done as u64);
        // SAFETY: memory and file are borrowed for longer than the wait below, and an error of the
        // wait ends the bench.
        unsafe { ring.submission().push(&read.build().flags(flags)) }.map_err(io::Error::other)?;
        let before = Instant::now();
        ring.submit()?;
        elapsed.submit = elapsed.submit.max(before.elapsed());
        ring.submit_and_wait(1)?;
        let Some(result) = ring.completion().next().map(|done| done.result()) else {
            continue;
        };
        done += moved(result)?;
    }
    elapsed.total = start.elapsed();
    Ok(elapsed)
}

/// One pread(2) after the other until the memory is full.
pub(crate) fn pread(file: &File, memory: &Memory) -> io::Result<Duration> {
    let start = Instant::now();
    let mut done = 0;
    while done < memory.len() {
        // SAFETY: the rest of the memory, which is mapped and used by nobody else.
        let count = unsafe {
            libc::pread(
                file.as_raw_fd(),
                memory.as_ptr().add(done).cast(),
                memory.len() - done,
                done as i64,
            )
        };
        done += moved(if count < 0 {
            -io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO)
        } else {
            count as i32
        })?;
    }
    Ok(start.elapsed())
}

/// A count that is no error and not the end of the file.
pub(crate) fn moved(result: i32) -> io::Result<usize> {
    match result {
        1.. => Ok(result as usize),
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// xorshift64: the same numbers for every peer.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        Random(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The offset of one of a file's blocks.
    pub(crate) fn offset(&mut self, file_bytes: usize, block: usize) -> u64 {
        self.next() % (file_bytes / block) as u64 * block as u64
    }
}

/// CPU time, user and system together.
pub(crate) fn cpu_time(who: i32) -> Duration {
    // SAFETY: an all-zero rusage is a valid value of that plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    unsafe { libc::getrusage(who, &mut usage) };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// Runs every peer once a round, so that what else the machine does meets all of them alike. `run`
/// gives the numbers of one run of one peer; the answer has, for each peer, the median of each
/// number.
pub(crate) fn interleaved<const N: usize>(
    rounds: usize,
    peers: usize,
    mut run: impl FnMut(usize) -> [f64; N],
) -> Vec<[f64; N]> {
    let mut all = vec![Vec::with_capacity(rounds); peers];
    for round in 0..rounds {
        for turn in 0..peers {
            // Who comes first in a round, and after whom, changes.
            let peer = if round % 2 == 0 {
                turn
            } else {
                peers - 1 - turn
            };
            all[peer].push(run(peer));
        }
    }
    let medians = |runs: &Vec<[f64; N]>| {
        std::array::from_fn(|number| {
            median(&runs.iter().map(|run| run[number]).collect::<Vec<_>>())
        })
    };
    all.iter().map(medians).collect()
}
