//! What a job asks for: the direction, offset and size of one request after the other.
//!
//! Everything follows from a seed: the same job with the same seed makes the same requests, on any
//! machine (whose `pow` rounds in the same way, where not all blocks are as likely). Nothing here
//! needs memory for each block, except a job that covers its region once with blocks of several
//! sizes.
//!
//! [`Course`] is what a runner needs; the rest is what it is made of.

mod blocks;
mod course;
mod distribution;
mod offsets;
mod permutation;
mod requests;
mod rng;
mod sizes;

pub use course::Course;
pub use distribution::Ranks;
pub use permutation::Permutation;
pub use requests::{Request, Requests, RequestsError};
pub use rng::{Rng, Stream};
pub use sizes::BlockSizes;

use super::job::Job;

/// fio's own seed, where none is given.
const SEED: u64 = 0x89;

impl Job {
    /// The seed of one worker, `clone` from 0 to `numjobs` - 1: from `randseed`, or always the same
    /// (`randrepeat`), or from `entropy`, which is to be another number in each run. No two workers
    /// of a file have the same one.
    pub fn seed(&self, clone: u32, entropy: u64) -> u64 {
        let options = &self.options;
        let seed = options
            .randseed
            .unwrap_or(if options.randrepeat || options.allrandrepeat {
                SEED
            } else {
                entropy
            });
        rng::mix(rng::mix(seed).wrapping_add(u64::from(self.first_worker) + u64::from(clone)))
    }
}
