//! No runtime: threads that write and check records of one file, through one I/O thread.
//!
//! Run with `cargo run --release --example handle`.

use std::io;
use std::time::Instant;

use nofault::Handle;
use nofault::handle::File;

const THREADS: u64 = 4;
const RECORDS: u64 = 1000;
const BYTES: usize = 4096;

/// Writes some records and reads them back, eight at a time.
fn work(thread: u64, handle: &Handle, file: &File) -> io::Result<()> {
    let mine: Vec<u64> = (0..RECORDS)
        .map(|record| record * THREADS + thread)
        .collect();
    for batch in mine.chunks(8) {
        // Requests start when they are made; the waits come after.
        let writes: Vec<_> = batch
            .iter()
            .map(|record| {
                file.write_all_at(
                    record.to_le_bytes().repeat(BYTES / 8),
                    record * BYTES as u64,
                )
            })
            .collect();
        for write in writes {
            handle.block_on(write).0?;
        }
    }
    handle.block_on(file.sync_data())?;
    for batch in mine.chunks(8) {
        let reads: Vec<_> = batch
            .iter()
            .map(|record| file.read_exact_at(vec![0; BYTES], record * BYTES as u64))
            .collect();
        for (read, record) in reads.into_iter().zip(batch) {
            let (result, buffer) = handle.block_on(read);
            result?;
            assert_eq!(
                buffer,
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
    println!("{}\nfile: {}", handle.info(), file.path());

    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let (handle, file) = (&handle, &file);
                    move || work(thread, handle, file)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a thread panicked"))
    })?;
    println!(
        "{} records written and read by {THREADS} threads in {:.1?}",
        THREADS * RECORDS,
        started.elapsed()
    );

    // Everything is over, and the I/O thread is gone, when this returns.
    handle.block_on(handle.shutdown());
    println!("\n{}", handle.stats());
    Ok(())
}
