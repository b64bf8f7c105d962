//! What ends at the same moment is taken in at once, whichever of it ended the wait.

use std::io::Write;
use std::os::fd::AsRawFd;

use io_uring::{opcode, types};

use super::super::op::Wait;
use super::super::stats::Stats;
use super::{Timing, Uring, Wishes};
use crate::driver::wake;

/// Fewer than the kernel works off in one call (IO_LOCAL_TW_DEFAULT_MAX, 20).
const TOGETHER: u64 = 12;

/// Keeps this thread, and those that it starts, on the processor that it is on.
fn stay_here() {
    // SAFETY: the set is a local that lives through the call, and as large as we say; all zeroes is
    // the empty set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().max(0) as usize, &mut set);
        assert_eq!(
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set),
            0
        );
    }
}

/// Since Linux 6.13 a call that has slept hands out only the completion that ended its sleep.
#[test]
fn completions_that_come_together_are_taken_in_together() {
    let mut stats = Stats::default();
    let mut uring = match Uring::new(64, Timing::Off, Wishes::default(), &mut stats) {
        Ok(uring) => uring,
        Err(error) => return println!("skipped: no io_uring: {error}"),
    };
    // Whoever writes then does not leave this processor to us before all that wait for it are told.
    stay_here();
    for _ in 0..50 {
        let event = wake::eventfd().expect("an eventfd");
        for token in 0..TOGETHER {
            let poll = opcode::PollAdd::new(types::Fd(event.as_raw_fd()), libc::POLLIN as u32)
                .build()
                .user_data(token);
            // SAFETY: a poll names no memory, and the eventfd outlives it.
            unsafe { uring.push_entry(poll) };
        }
        uring.enter(Wait::No, &mut stats).expect("the polls start");
        let mut writer = std::fs::File::from(event.try_clone().expect("a second descriptor"));
        let writer = std::thread::spawn(move || writer.write_all(&1u64.to_ne_bytes()));
        uring.enter(Wait::Forever, &mut stats).expect("a poll ends");
        uring.gather(&mut stats);
        let mut ended = Vec::new();
        uring.reap(&mut ended);
        assert_eq!(ended.len() as u64, TOGETHER);
        writer
            .join()
            .expect("the writer ends")
            .expect("the eventfd takes it");
    }
}
