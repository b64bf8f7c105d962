//! An engine in a current-thread runtime of tokio: its ring is one more descriptor in the reactor,
//! and no thread is added.
//!
//! Run with `cargo run --release --features tokio --example tokio_current`.

use std::io::{self, Write};
use std::rc::Rc;
use std::time::Instant;

use nofault::{Engine, File};
use tokio::task::{LocalSet, spawn_local};

const TASKS: u64 = 32;
const READS: u64 = 1000;
const BLOCK: usize = 4096;
const BLOCKS: u64 = 4096;

async fn run(folder: &std::path::Path) -> io::Result<()> {
    let engine = Engine::new()?;
    // The task that takes the engine's turns. It ends with the engine.
    let drive = spawn_local(nofault::tokio::drive(&engine)?);

    let file = Rc::new(File::create(&engine, folder.join("blocks"))?);
    writeln!(io::stdout(), "{}\nfile: {}", engine.info(), file.path())?;
    let contents: Vec<u8> = (0..BLOCKS)
        .flat_map(|block| block.to_le_bytes().repeat(BLOCK / 8))
        .collect();
    file.write_all_at(contents, 0).await.0?;

    let pool = engine.pool(TASKS as usize, BLOCK)?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (file, buffer) = (file.clone(), pool.get());
            spawn_local(async move {
                let mut buffer = buffer.ok_or(io::ErrorKind::ResourceBusy)?;
                for read in 0..READS {
                    let block = (task * READS + read).wrapping_mul(0x9e37_79b9_7f4a_7c15) % BLOCKS;
                    // What all tasks ask for until the runtime has nothing else to do is submitted
                    // by one system call.
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
        "{} reads by {TASKS} tasks in {:.1?}\n\n{}",
        TASKS * READS,
        started.elapsed(),
        engine.stats()
    )?;

    drop((pool, file, engine));
    drive.await?;
    Ok(())
}

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    LocalSet::new().block_on(&runtime, run(folder.path()))
}
