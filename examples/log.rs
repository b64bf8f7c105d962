//! A log with group commit: many threads append, one thread writes, and a record is acknowledged
//! when a sync has made it durable.
//!
//! While one group is on its way to the disk the next one gathers in the channel. So a sync is paid
//! once for a group, and no timer is needed.
//!
//! Run with `cargo run --release --example log`.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use nofault::{Engine, File, IoBufExt, OpenOptions, Pool};

/// A record on its way, and whom to tell at which byte of the log its group starts.
struct Append {
    record: Vec<u8>,
    done: Sender<Result<u64, io::ErrorKind>>,
}

impl Append {
    /// `None` for a record that no group holds, or that would look like padding.
    fn new(record: Vec<u8>, done: Sender<Result<u64, io::ErrorKind>>) -> Option<Append> {
        (1..=GROUP - LENGTH)
            .contains(&record.len())
            .then_some(Append { record, done })
    }

    /// The bytes of a record in the log: its length, itself, and padding, so that a length never
    /// crosses the end of a block.
    fn framed(&self) -> usize {
        (LENGTH + self.record.len()).next_multiple_of(LENGTH)
    }
}

/// The writing end. It lives on one thread, as the engine does.
struct Log {
    engine: Engine,
    file: File,
    /// One pinned buffer, so that no append ever looks at memory or faults.
    pool: Pool,
    /// Where the next record goes, in bytes.
    end: u64,
}

/// Bytes of one group at most.
const GROUP: usize = 256 << 10;
/// Groups start and end at multiples of this, so that every write is direct and none touches a
/// block of another group.
const BLOCK: usize = 4096;
/// Bytes of a record's length.
const LENGTH: usize = 4;

impl Log {
    fn create(path: &Path) -> io::Result<Log> {
        let engine = Engine::new()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&engine, path)?;
        let pool = engine.pool(1, GROUP)?;
        Ok(Log {
            engine,
            file,
            pool,
            end: 0,
        })
    }

    /// Serves until the last sender is gone. Returns how many groups and records there were.
    fn serve(&mut self, appends: &Receiver<Append>) -> io::Result<(u64, u64)> {
        let (mut groups, mut records) = (0, 0);
        let mut first = appends.recv().ok();
        while let Some(append) = first.take() {
            let mut group = vec![append];
            let mut bytes = group[0].framed();
            for more in appends.try_iter() {
                if bytes + more.framed() > GROUP {
                    // It opens the next group.
                    first = Some(more);
                    break;
                }
                bytes += more.framed();
                group.push(more);
            }
            let result = self.commit(&group, bytes).map_err(|error| error.kind());
            groups += 1;
            records += group.len() as u64;
            for append in group {
                // A client that no longer waits is no error.
                let _ = append.done.send(result);
            }
            result?;
            first = first.or_else(|| appends.recv().ok());
        }
        Ok((groups, records))
    }

    /// One write and one sync. Returns where the group starts.
    fn commit(&mut self, group: &[Append], bytes: usize) -> io::Result<u64> {
        let mut buffer = self.pool.get().ok_or(io::ErrorKind::ResourceBusy)?;
        let mut at = 0;
        for append in group {
            let (length, record) = (append.record.len(), &append.record);
            buffer[at..at + LENGTH].copy_from_slice(&(length as u32).to_le_bytes());
            buffer[at + LENGTH..at + LENGTH + length].copy_from_slice(record);
            buffer[at + LENGTH + length..at + append.framed()].fill(0);
            at += append.framed();
        }
        let bytes = bytes.next_multiple_of(BLOCK);
        buffer[at..bytes].fill(0);
        let start = self.end;
        self.engine.block_on(async {
            // The sync starts only when the whole write is over: a direct write may take several
            // passes.
            let (result, _buffer) = self
                .file
                .write_all_at(buffer.into_slice(..bytes), start)
                .await;
            result?;
            self.file.sync_data().await
        })?;
        self.end += bytes as u64;
        Ok(start)
    }

    /// Reads the whole log back and counts its records.
    fn count(&self) -> io::Result<u64> {
        let bytes = self.file.len()? as usize;
        // A read fills a Vec's capacity, which may be more than was asked for: the slice says how
        // much is wanted.
        let all = Vec::with_capacity(bytes).into_slice(..bytes);
        let (result, all) = self.engine.block_on(self.file.read_exact_at(all, 0));
        result?;
        let all = all.into_inner();
        let (mut rest, mut records) = (&all[..], 0);
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
            let at = all.len() - rest.len();
            let length = u32::from_le_bytes(*length) as usize;
            if length == 0 {
                // The rest of the block is padding.
                rest = &all[(at + 1).next_multiple_of(BLOCK)..];
                continue;
            }
            let record = after.get(..length).ok_or(io::ErrorKind::InvalidData)?;
            assert!(
                record.starts_with(b"client "),
                "a record that nobody appended"
            );
            rest = &all[(at + LENGTH + length).next_multiple_of(LENGTH)..];
            records += 1;
        }
        Ok(records)
    }
}

fn main() -> io::Result<()> {
    match run() {
        // Whoever reads what this prints has seen enough: `| head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn run() -> io::Result<()> {
    const CLIENTS: u64 = 16;
    const EACH: u64 = 50;
    let folder = tempfile::tempdir_in(".")?;
    let mut log = Log::create(&folder.path().join("log"))?;
    writeln!(
        io::stdout(),
        "{}\nlog: {}",
        log.engine.info(),
        log.file.path()
    )?;

    let (sender, appends) = channel();
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for i in 0..EACH {
                    let (done, acknowledged) = channel();
                    let record = format!("client {client}, record {i}").into_bytes();
                    sender
                        .send(Append::new(record, done).expect("a short record"))
                        .expect("the log serves");
                    acknowledged
                        .recv()
                        .expect("the log answers")
                        .expect("the append is durable");
                }
            })
        })
        .collect();
    drop(sender);
    let (groups, records) = log.serve(&appends)?;
    for client in clients {
        client.join().expect("a client does not panic");
    }

    writeln!(
        io::stdout(),
        "{records} records made durable by {groups} syncs in {:.1?}",
        started.elapsed()
    )?;
    assert_eq!((records, log.count()?), (CLIENTS * EACH, CLIENTS * EACH));
    writeln!(io::stdout(), "\n{}", log.engine.stats())?;
    Ok(())
}
