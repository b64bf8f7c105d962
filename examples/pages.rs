//! A B+ tree of 4 KiB pages, looked up in batches: each level is read for the whole batch at once,
//! into the pinned buffers of a pool.
//!
//! Run with `cargo run --release --example pages`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use nofault::{Engine, File, OpenOptions, Pool, PoolBuf};

const PAGE: usize = 4096;
/// A page holds sorted pairs of a key and either a value (leaf) or a page number (branch), 8 bytes
/// each, unused ones all ones.
const PAIRS: usize = PAGE / 16;
/// Pages in flight at most: what the disk is asked for at once.
const DEPTH: usize = 32;

/// A file of pages, and buffers for those in use.
struct Pages {
    engine: Engine,
    file: File,
    pool: Pool,
}

impl Pages {
    fn create(path: &Path) -> io::Result<Pages> {
        let engine = Engine::builder().depth(DEPTH as u32).build()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&engine, path)?;
        let pool = engine.pool(DEPTH, PAGE)?;
        Ok(Pages { engine, file, pool })
    }

    /// Builds the tree over sorted pairs, from the leaves up. Returns its root and how many levels
    /// there are above the leaves.
    async fn load(&self, mut pairs: Vec<(u64, u64)>) -> io::Result<(u64, u32)> {
        let (mut next_page, mut height) = (0, 0);
        loop {
            let mut above = Vec::new();
            for batch in pairs.chunks(PAIRS * DEPTH) {
                let mut writes = Vec::new();
                for page in batch.chunks(PAIRS) {
                    let mut buffer = self.pool.get().ok_or(io::ErrorKind::ResourceBusy)?;
                    fill(&mut buffer, page);
                    // All are on their way before the first is waited for.
                    writes.push(self.file.write_all_at(buffer, next_page * PAGE as u64));
                    above.push((page[0].0, next_page));
                    next_page += 1;
                }
                for write in writes {
                    write.await.0?;
                }
            }
            if above.len() == 1 {
                self.file.sync_all().await?;
                return Ok((next_page - 1, height));
            }
            (pairs, height) = (above, height + 1);
        }
    }

    /// Values of many keys, `None` for those that are not there. Level by level; at each the pages
    /// of up to `DEPTH` keys are read together.
    async fn get(&self, root: u64, height: u32, keys: &[u64]) -> io::Result<Vec<Option<u64>>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(DEPTH) {
            let mut at = vec![Some(root); keys.len()];
            for level in (0..=height).rev() {
                let mut reads = Vec::new();
                for page in &at {
                    // No look and no fault: the buffers are pinned. A batch is submitted by one
                    // system call, at the first await.
                    let read = |page: u64, buffer: PoolBuf| {
                        self.file.read_exact_at(buffer, page * PAGE as u64)
                    };
                    reads.push(match page {
                        Some(page) => Some(read(
                            *page,
                            self.pool.get().ok_or(io::ErrorKind::ResourceBusy)?,
                        )),
                        None => None,
                    });
                }
                for ((at, read), key) in at.iter_mut().zip(reads).zip(keys) {
                    let Some(read) = read else { continue };
                    let (result, page) = read.await;
                    result?;
                    // A branch leads to the last child that starts at or below the key; a leaf has
                    // the key or has it not.
                    *at = find(&page, *key)
                        .and_then(|(found, value)| (level > 0 || found == *key).then_some(value));
                }
            }
            values.extend(at);
        }
        Ok(values)
    }
}

/// The last pair whose key is not above `key`.
fn find(page: &[u8], key: u64) -> Option<(u64, u64)> {
    let number = |at: usize| {
        u64::from_le_bytes(*page[at..].first_chunk().expect("pairs end inside the page"))
    };
    let (mut low, mut high) = (0, PAIRS);
    while low < high {
        let middle = (low + high) / 2;
        if number(middle * 16) <= key {
            low = middle + 1
        } else {
            high = middle
        }
    }
    low.checked_sub(1)
        .map(|pair| (number(pair * 16), number(pair * 16 + 8)))
}

fn fill(page: &mut [u8], pairs: &[(u64, u64)]) {
    page.fill(0xff);
    for (place, (key, value)) in page.chunks_exact_mut(16).zip(pairs) {
        place[..8].copy_from_slice(&key.to_le_bytes());
        place[8..].copy_from_slice(&value.to_le_bytes());
    }
}

fn main() -> io::Result<()> {
    const KEYS: u64 = 1_000_000;
    const LOOKUPS: u64 = 20_000;
    let folder = tempfile::tempdir_in(".")?;
    let pages = Pages::create(&folder.path().join("pages"))?;
    writeln!(
        io::stdout(),
        "{}\nfile: {}, pool pinned: {}",
        pages.engine.info(),
        pages.file.path(),
        pages.pool.is_pinned()
    )?;

    pages.engine.block_on(async {
        let started = Instant::now();
        let (root, height) = pages.load((0..KEYS).map(|key| (2 * key, key)).collect()).await?;
        writeln!(
            io::stdout(),
            "{KEYS} keys loaded in {:.1?}: page {root} is the root, {height} levels above the leaves", started.elapsed()
        )?;

        // Spread over the file; every second one is odd, and so not in the tree.
        let keys: Vec<u64> = (0..LOOKUPS).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (2 * KEYS)).collect();
        let started = Instant::now();
        let values = pages.get(root, height, &keys).await?;
        writeln!(
            io::stdout(),
            "{LOOKUPS} keys looked up in {:.1?}", started.elapsed()
        )?;
        for (key, value) in keys.iter().zip(values) {
            assert_eq!(value, (key % 2 == 0).then_some(key / 2), "key {key}");
        }
        io::Result::Ok(())
    })?;
    writeln!(io::stdout(), "\n{}", pages.engine.stats())?;
    Ok(())
}
