//! No runtime: threads that write and check records of one file, through one I/O thread.
//!
//! Run with `cargo run --release --example handle`.

use std::io::{self, Write};
use std::time::Instant;

use nofault::handle::File;
use nofault::{Handle, Pool, PoolBuf};

const THREADS: u64 = 4;
const RECORDS: u64 = 1000;
const BYTES: usize = 4096;
/// How many requests each thread has in flight.
const BATCH: usize = 8;

/// A buffer of the pool, full of the record's number. Pinned memory is page aligned and needs no
/// look; a `Vec` would work too, by way of a copy.
fn record_in(pool: &Pool, record: u64) -> io::Result<PoolBuf> {
    let mut buffer = pool.get().ok_or(io::ErrorKind::ResourceBusy)?;
    buffer.copy_from_slice(&record.to_le_bytes().repeat(BYTES / 8));
    Ok(buffer)
}

/// Writes some records and reads them back.
fn work(thread: u64, handle: &Handle, file: &File, pool: &Pool) -> io::Result<()> {
    let mine: Vec<u64> = (0..RECORDS)
        .map(|record| record * THREADS + thread)
        .collect();
    for batch in mine.chunks(BATCH) {
        // Requests start when they are made; the waits come after.
        let writes: Vec<_> = batch
            .iter()
            .map(|record| Ok(file.write_all_at(record_in(pool, *record)?, record * BYTES as u64)))
            .collect::<io::Result<_>>()?;
        for write in writes {
            handle.block_on(write).0?;
        }
    }
    handle.block_on(file.sync_data())?;
    for batch in mine.chunks(BATCH) {
        let reads: Vec<_> = batch
            .iter()
            .map(|record| Ok(file.read_exact_at(record_in(pool, 0)?, record * BYTES as u64)))
            .collect::<io::Result<_>>()?;
        for (read, record) in reads.into_iter().zip(batch) {
            let (result, buffer) = handle.block_on(read);
            result?;
            assert_eq!(
                buffer[..],
                record.to_le_bytes().repeat(BYTES / 8),
                "record {record}"
            );
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    // However many threads ask, at most 1 MiB is in flight; the others wait for their turn.
    let handle = Handle::builder().depth(64).memory(1 << 20).build()?;
    let file = File::create(&handle, folder.path().join("records"))?;
    // A buffer for each request that the threads have in flight.
    let pool = handle.pool(THREADS as usize * BATCH, BYTES)?;
    writeln!(io::stdout(), "{}\nfile: {}", handle.info(), file.path())?;

    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let (handle, file, pool) = (&handle, &file, &pool);
                    move || work(thread, handle, file, pool)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a thread panicked"))
    })?;
    writeln!(
        io::stdout(),
        "{} records written and read by {THREADS} threads in {:.1?}",
        THREADS * RECORDS,
        started.elapsed()
    )?;

    // Everything is over, and the I/O thread is gone, when this returns.
    handle.block_on(handle.shutdown());
    writeln!(io::stdout(), "\n{}", handle.stats())?;
    Ok(())
}
