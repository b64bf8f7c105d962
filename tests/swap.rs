//! Buffers that were swapped out: the request ends, the bytes are right, and the submitting thread
//! waits for no page.
//!
//! Needs root and zram: the swap space is a compressed RAM disk of the test's own, taken away again
//! at the end.

mod common;

use common::files;
use common::mapping::{Mapping, patterned};
use common::setup;
use common::sys::{self, PAGE, thread_faults};
use nofault::{OpenOptions, Policy};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;

const BYTES: usize = 4 << 20;
const SEED: u64 = 13;

/// A swap space on a zram device that goes away with the value.
struct Swap {
    number: String,
    on: bool,
}

impl Swap {
    fn device(&self) -> String {
        format!("/dev/zram{}", self.number)
    }

    fn new() -> Result<Self, String> {
        if !sys::is_root() {
            return Err("needs root to make a swap space".into());
        }
        let _ = Command::new("modprobe").arg("zram").output();
        let number = std::fs::read_to_string("/sys/class/zram-control/hot_add")
            .map_err(|error| format!("no zram device: {error}"))?;
        let mut swap = Self {
            number: number.trim().to_owned(),
            on: false,
        };
        std::fs::write(format!("/sys/block/zram{}/disksize", swap.number), "64M")
            .map_err(|error| format!("zram's size: {error}"))?;
        for (command, arguments) in [
            ("mkswap", vec![swap.device()]),
            ("swapon", vec![swap.device()]),
        ] {
            let output = Command::new(command)
                .args(arguments)
                .output()
                .map_err(|error| format!("{command}: {error}"))?;
            if !output.status.success() {
                return Err(format!(
                    "{command}: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                ));
            }
        }
        swap.on = true;
        Ok(swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if self.on {
            let off = Command::new("swapoff").arg(self.device()).status();
            assert!(
                off.is_ok_and(|status| status.success()) || std::thread::panicking(),
                "swapoff"
            );
        }
        let _ = std::fs::write(format!("/sys/block/zram{}/reset", self.number), "1");
        let _ = std::fs::write("/sys/class/zram-control/hot_remove", &self.number);
    }
}

/// How many pages of the mapping are in swap, from the page map (bit 62).
fn swapped_pages(memory: &Mapping) -> usize {
    let map = std::fs::File::open("/proc/self/pagemap").unwrap();
    let mut entries = vec![0; memory.len() / PAGE * 8];
    map.read_exact_at(&mut entries, (memory.address() / PAGE * 8) as u64)
        .unwrap();
    entries
        .chunks_exact(8)
        .filter(|entry| entry[7] & 0x40 != 0)
        .count()
}

/// Memory with the pattern in it, and none of it in RAM.
fn swapped_out(seed: u64) -> Result<Mapping, String> {
    let memory = Mapping::anon(BYTES);
    let _ = memory.advise(0..BYTES, libc::MADV_NOHUGEPAGE);
    memory.fill(0..BYTES, seed);
    // Pages that sit in a CPU's private list are passed over; they have left it after a few tries.
    for _ in 0..20 {
        memory
            .advise(0..BYTES, libc::MADV_PAGEOUT)
            .map_err(|errno| format!("MADV_PAGEOUT: errno {errno}"))?;
        if swapped_pages(&memory) * 10 >= BYTES / PAGE * 9 {
            return Ok(memory);
        }
    }
    Err(format!(
        "MADV_PAGEOUT swapped only {} of {} pages",
        swapped_pages(&memory),
        BYTES / PAGE
    ))
}

#[test]
fn requests_on_swapped_out_memory_end_and_fault_nowhere_near_the_submission() {
    let name = "requests_on_swapped_out_memory_end_and_fault_nowhere_near_the_submission";
    let _swap = match Swap::new() {
        Ok(swap) => swap,
        Err(reason) => common::skip!(name, "{reason}"),
    };
    for backend in setup::backends() {
        let folder = files::folder();
        let path = folder.path().join("file");
        let plain = files::make_patterned(&path, BYTES, SEED);
        let engine = setup::engine(backend);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&engine, &path)
            .unwrap();
        // The first rounds find code and tables cold; they are not counted.
        for (round, policy) in [Policy::Look, Policy::Offload, Policy::Look, Policy::Look]
            .into_iter()
            .enumerate()
        {
            for write in [false, true] {
                let memory = match swapped_out(SEED + 1) {
                    Ok(memory) => memory,
                    Err(reason) => common::skip!(name, "{reason}"),
                };
                // With pages of the file in the cache the kernel would put the request off to
                // another thread, and the faults with it.
                sys::drop_cache(plain.as_raw_fd());
                let before = thread_faults();
                let result = engine.block_on(async {
                    match write {
                        true => {
                            let from = memory.address() as *const u8;
                            // SAFETY: the mapping outlives `block_on`.
                            let request = unsafe { file.write_raw_at(from, BYTES, 0, policy) };
                            request.await
                        }
                        false => {
                            let to = memory.address() as *mut u8;
                            // SAFETY: as above.
                            let request = unsafe { file.read_raw_at(to, BYTES, 0, policy) };
                            request.await
                        }
                    }
                });
                let after = thread_faults();
                assert_eq!(result.expect("the request"), BYTES);
                if round >= 2 {
                    // The request's own would be a thousand; a few minor ones are the heap's.
                    let faults = (after.0 - before.0, after.1 - before.1);
                    assert!(
                        faults.0 < 16 && faults.1 == 0,
                        "{backend:?}, write: {write}: (minor, major) faults {faults:?}"
                    );
                }
                let expected = patterned(BYTES, if write { SEED + 1 } else { SEED });
                assert!(memory.bytes() == expected, "{backend:?}: the buffer");
                assert!(
                    sys::read_range(plain.as_raw_fd(), 0, BYTES) == expected,
                    "{backend:?}: the file"
                );
            }
            plain.write_all_at(&patterned(BYTES, SEED), 0).unwrap();
        }
    }
}
