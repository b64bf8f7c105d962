//! A program of tokio-uring that has moved one of its two files: the log is still tokio-uring's,
//! the pages are nofault's.
//!
//! Run with `cargo run --release --features tokio-uring --example tokio_uring`.

use std::io::{self, Write};
use std::path::Path;

use nofault::tokio_uring::{Buf, drive};
use nofault::{Engine, File};

const PAGE: usize = 4096;
const PAGES: u64 = 256;

async fn run(folder: &Path) -> io::Result<()> {
    let log = tokio_uring::fs::File::create(folder.join("log")).await?;

    // All that the move takes: an engine, the task that drives it, and other words to open the file
    // with.
    let engine = Engine::new()?;
    tokio_uring::spawn(drive(&engine)?);
    let pages = File::create(&engine, folder.join("pages"))?;
    writeln!(io::stdout(), "{}\npages: {}", engine.info(), pages.path())?;

    let mut end = 0;
    for number in 0..PAGES {
        // First the log, to the device; then the page.
        let entry = format!("page {number}\n").into_bytes();
        let length = entry.len() as u64;
        log.write_all_at(entry, end).await.0?;
        end += length;
        log.sync_data().await?;
        // `Buf` takes any buffer of tokio-uring's traits; a vector would do without.
        let (result, Buf(_page)) = pages
            .write_all_at(
                Buf(number.to_le_bytes().repeat(PAGE / 8)),
                number * PAGE as u64,
            )
            .await;
        result?;
    }
    pages.sync_all().await?;
    log.close().await?;

    // Requests start when they are made: these are all in flight together.
    let reads: Vec<_> = (0..PAGES)
        .map(|number| pages.read_exact_at(Buf(vec![0u8; PAGE]), number * PAGE as u64))
        .collect();
    for (read, number) in reads.into_iter().zip(0..PAGES) {
        let (result, Buf(page)) = read.await;
        result?;
        assert_eq!(page, number.to_le_bytes().repeat(PAGE / 8));
    }
    writeln!(
        io::stdout(),
        "{PAGES} pages logged, written and read back\n\n{}",
        engine.stats()
    )?;
    Ok(())
}

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    tokio_uring::start(run(folder.path()))
}
