//! A handle in a multi-thread runtime of tokio: tasks move between its threads, and their reads
//! with them.
//!
//! Run with `cargo run --release --example tokio_multi`. No feature is needed: a handle's futures
//! are as good in any runtime.

use std::io::{self, Write};
use std::time::Instant;

use nofault::Handle;
use nofault::handle::File;

const TASKS: u64 = 32;
const READS: u64 = 1000;
const BLOCK: usize = 4096;
const BLOCKS: u64 = 4096;

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(async {
        let handle = Handle::new()?;
        let file = File::create(&handle, folder.path().join("blocks"))?;
        writeln!(io::stdout(), "{}\nfile: {}", handle.info(), file.path())?;
        let (result, _) = file
            .write_all_at(
                (0..BLOCKS)
                    .flat_map(|block| block.to_le_bytes().repeat(BLOCK / 8))
                    .collect::<Vec<u8>>(),
                0,
            )
            .await;
        result?;

        // Pinned once, for every task that reads; not one fault and not one look after this.
        let pool = handle.pool(TASKS as usize, BLOCK)?;
        let started = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (file, buffer) = (file.clone(), pool.get());
                tokio::spawn(async move {
                    let mut buffer = buffer.ok_or(io::ErrorKind::ResourceBusy)?;
                    for read in 0..READS {
                        let block =
                            (task * READS + read).wrapping_mul(0x9e37_79b9_7f4a_7c15) % BLOCKS;
                        let (result, back) = file.read_exact_at(buffer, block * BLOCK as u64).await;
                        result?;
                        assert_eq!(back[..8], block.to_le_bytes());
                        buffer = back;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        writeln!(
            io::stdout(),
            "{} reads by {TASKS} tasks in {:.1?}, pinned: {}",
            TASKS * READS,
            started.elapsed(),
            pool.is_pinned()
        )?;

        handle.shutdown().await;
        writeln!(io::stdout(), "\n{}", handle.stats())?;
        Ok(())
    })
}
