//! The machine without a kernel: every path of small requests (`walk`), and single stories of full
//! size (`errors`).

mod errors;
mod walk;

use super::*;

const ADDR: usize = 1 << 20;

/// Drives one request with a closure that plays the kernel.
fn run(
    transfer: &mut Transfer,
    mut kernel: impl FnMut(Action) -> Event,
) -> (Result<usize, Errno>, u32) {
    let mut action = transfer.step(Event::Start);
    for steps in 0..10_000 {
        if let Action::Finish(result) = action {
            return (result, steps);
        }
        action = transfer.step(kernel(action));
    }
    panic!("10,000 steps");
}

/// The sizes of the engine, for a file with a direct path and blocks of 512 bytes.
fn real_geometry() -> Geometry {
    Geometry {
        direct: true,
        mem: 512,
        block: 512,
        ..Geometry::base(4096, 1 << 20)
    }
}

/// A transfer is made, boxed and moved into its box for each request that one operation does not
/// serve, and read on every step: at 144 bytes it spans three cache lines at most. A field that
/// makes it larger than 192 makes that four, for every such request; look for room first.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_transfer_is_144_bytes() {
    assert_eq!(size_of::<Transfer>(), 144);
}
