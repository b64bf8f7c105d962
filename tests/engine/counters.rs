//! The counters tell what happened, and only what happened.

use super::{SEED, Stage, each_stage};
use crate::common::mapping::{Mapping, patterned};
use crate::common::sys::PAGE;
use nofault::{AlignedBuf, File, IoPath, Policy, Stats};

const BYTES: usize = 4 << 20;

/// Fresh memory in small pages, or memory that was written.
fn memory(warm: bool) -> Mapping {
    let memory = Mapping::anon(BYTES);
    let _ = memory.advise(0..BYTES, libc::MADV_NOHUGEPAGE);
    if warm {
        memory.fill(0..BYTES, 1);
    }
    memory
}

fn read(
    stage: &Stage,
    file: &File,
    memory: &Mapping,
    skew: usize,
    len: usize,
    offset: u64,
    policy: Policy,
) -> usize {
    // SAFETY: the mapping outlives `block_on`, which returns when the request has ended.
    let request =
        unsafe { file.read_raw_at((memory.address() + skew) as *mut u8, len, offset, policy) };
    stage.engine.block_on(request).unwrap()
}

/// Runs the body with a direct file of 4 MiB, and gives what was counted by it; false if files here
/// are not direct.
fn counted(stage: &Stage, body: impl FnOnce(&File)) -> Option<(Stats, Stats)> {
    let file = stage.file("file", BYTES);
    if let IoPath::Buffered(reason) = file.path() {
        crate::common::note_skip("counters of direct files", &reason.to_string());
        return None;
    }
    let before = stage.engine.stats();
    body(&file);
    Some((before, stage.engine.stats()))
}

#[test]
fn warm_memory_is_looked_at_and_nothing_else() {
    each_stage(16, |stage| {
        let memory = memory(true);
        let Some((before, after)) = counted(stage, |file| {
            for at in (0..BYTES).step_by(65536) {
                assert_eq!(
                    read(stage, file, &memory, at, 65536, at as u64, Policy::Look),
                    65536
                );
            }
        }) else {
            return;
        };
        let requests = (BYTES / 65536) as u64;
        assert_eq!(after.requests - before.requests, requests, "{after}");
        assert_eq!(after.looked - before.looked, requests, "{after}");
        assert_eq!(after.resident - before.resident, requests, "{after}");
        assert_eq!(
            after.bytes_read - before.bytes_read,
            BYTES as u64,
            "{after}"
        );
        let odd = |stats: &Stats| {
            (
                stats.fault_in_rounds,
                stats.bounced,
                stats.buffered,
                stats.prefix_submissions,
                stats.resubmissions,
            )
        };
        assert_eq!(odd(&before), odd(&after), "{after}");
    });
}

#[test]
fn cold_memory_is_faulted_in() {
    each_stage(16, |stage| {
        for policy in [Policy::Look, Policy::Offload] {
            let memory = memory(false);
            let Some((before, after)) = counted(stage, |file| {
                assert_eq!(read(stage, file, &memory, 0, BYTES, 0, policy), BYTES);
            }) else {
                return;
            };
            assert!(memory.bytes() == patterned(BYTES, SEED));
            assert!(
                after.fault_in_rounds > before.fault_in_rounds,
                "{policy:?}: {after}"
            );
            assert_eq!(
                (before.bounced, before.buffered),
                (after.bounced, after.buffered),
                "{after}"
            );
        }
    });
}

#[test]
fn trusted_memory_is_not_looked_at() {
    each_stage(16, |stage| {
        let memory = memory(true);
        let Some((before, after)) = counted(stage, |file| {
            assert_eq!(
                read(stage, file, &memory, 0, 65536, 0, Policy::Trust),
                65536
            );
        }) else {
            return;
        };
        assert_eq!(
            (after.looked, after.fault_in_rounds),
            (before.looked, before.fault_in_rounds),
            "{after}"
        );
    });
}

#[test]
fn what_alignment_forbids_goes_another_way() {
    each_stage(16, |stage| {
        let memory = memory(true);
        for (skew, len, offset) in [(0, 100, 0), (0, 65536, 77), (3, 65536, 4096)] {
            let Some((before, after)) = counted(stage, |file| {
                if file.alignment().offset == 1 || (skew != 0 && file.alignment().mem == 1) {
                    return;
                }
                assert_eq!(
                    read(stage, file, &memory, skew, len, offset, Policy::Look),
                    len
                );
            }) else {
                return;
            };
            if after.requests > before.requests {
                let ways = |stats: &Stats| stats.bounced + stats.buffered;
                assert!(
                    ways(&after) > ways(&before),
                    "{len} bytes at {offset} to memory + {skew}: {after}"
                );
            }
        }
    });
}

#[test]
fn a_prefix_is_counted_when_the_tail_is_not_there() {
    each_stage(16, |stage| {
        let memory = memory(true);
        memory.punch(8 * PAGE..BYTES);
        let Some((before, after)) = counted(stage, |file| {
            assert_eq!(
                read(stage, file, &memory, 0, 16 * PAGE, 0, Policy::Look),
                8 * PAGE
            );
        }) else {
            return;
        };
        assert!(
            after.prefix_submissions > before.prefix_submissions,
            "{after}"
        );
        assert!(after.fault_in_failed > before.fault_in_failed, "{after}");
    });
}

#[test]
fn pinned_memory_is_not_looked_at() {
    each_stage(16, |stage| {
        let pool = stage.engine.pool(1, 65536).unwrap();
        if !pool.is_pinned() {
            return;
        }
        let Some((before, after)) = counted(stage, |file| {
            let (count, _) = stage
                .engine
                .block_on(file.read_at(pool.get().expect("free"), 0));
            assert_eq!(count.unwrap(), 65536);
        }) else {
            return;
        };
        assert_eq!(
            (after.looked, after.fault_in_rounds, after.bounced),
            (before.looked, before.fault_in_rounds, before.bounced),
            "{after}"
        );
    });
}

#[test]
fn every_request_that_starts_also_ends_in_the_books() {
    each_stage(16, |stage| {
        let file = stage.file("file", BYTES);
        for round in 0..20 {
            // Some given up, some waited for.
            drop(file.read_at(vec![0; 4096], round * 4096));
            let (count, _) = stage
                .engine
                .block_on(file.read_at(AlignedBuf::new(8192).unwrap(), round * 4096));
            assert_eq!(count.unwrap(), 8192);
        }
        let (count, _) = stage.engine.block_on(file.write_at(vec![1; 5000], 0));
        assert_eq!(count.unwrap(), 5000);
        while stage.engine.stats().in_flight > 0 {
            stage.engine.turn(None).unwrap();
        }
        let stats = stage.engine.stats();
        assert_eq!(stats.requests, stats.ended, "{stats}");
        assert!(stats.requests >= 21, "{stats}");
        // The time of the first of each 64 is taken.
        assert_eq!(stats.latency.count(), stats.ended.div_ceil(64), "{stats}");
        assert_eq!(stats.bytes_written, 5000, "{stats}");
        assert!(stats.bytes_read >= 20 * 8192, "{stats}");
        assert!(
            !stats.to_string().is_empty()
                && stage
                    .engine
                    .info()
                    .to_string()
                    .contains(&stage.engine.info().backend.to_string())
        );
    });
}

#[test]
fn memory_that_can_be_touched_but_not_pinned_is_counted() {
    let Some(vvar) = crate::common::zoo::vvar() else {
        return crate::common::note_skip("memory that can't be pinned", "no [vvar]");
    };
    each_stage(16, |stage| {
        let Some((before, after)) = counted(stage, |file| {
            let data = vvar.start as *const u8;
            // SAFETY: the kernel's page stays mapped as long as the process.
            let request = unsafe { file.write_raw_at(data, PAGE, 0, Policy::Look) };
            assert_eq!(stage.engine.block_on(request).unwrap(), PAGE);
        }) else {
            return;
        };
        assert_eq!(after.not_pinnable, before.not_pinnable + 1, "{after}");
        // Bad memory is no such memory.
        let memory = memory(true);
        memory.punch(0..BYTES);
        let Some((before, after)) = counted(stage, |file| {
            // SAFETY: the mapping outlives `block_on`, which returns when the request has ended.
            let request =
                unsafe { file.write_raw_at(memory.address() as *const u8, PAGE, 0, Policy::Look) };
            assert!(stage.engine.block_on(request).is_err());
        }) else {
            return;
        };
        assert_eq!(after.not_pinnable, before.not_pinnable, "{after}");
    });
}
