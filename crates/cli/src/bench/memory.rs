//! The memory that requests read into and write from: a warm part and a part that can be made
//! untouched again.
//!
//! One of the few places of the program with unsafe code. What is mapped here is never unmapped: a
//! request that outlives its round, because a wait failed, must not meet memory that meanwhile
//! belongs to somebody else. The program is short-lived; the system takes it all back.

use std::io;
use std::ptr;

use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::workload::{DEPTH_MAX, LARGE};

/// Memory for one run of the bench.
pub(crate) struct Memory {
    warm: *mut u8,
    cold: *mut u8,
    cold_bytes: usize,
}

impl Memory {
    const WARM_BYTES: usize = 4 * LARGE;

    /// Maps `cold_bytes` bytes of memory that stays untouched, and a small warm part.
    pub(crate) fn new(cold_bytes: usize) -> io::Result<Memory> {
        const { assert!(DEPTH_MAX * 4096 <= Memory::WARM_BYTES) };
        let memory = Memory {
            warm: map(Self::WARM_BYTES)?,
            cold: map(cold_bytes)?,
            cold_bytes,
        };
        // SAFETY: the mapping is that long, and no request knows it yet.
        let warm = unsafe { std::slice::from_raw_parts_mut(memory.warm, Self::WARM_BYTES) };
        fastrand::Rng::with_seed(1).fill(warm);
        Ok(memory)
    }

    /// Bytes of the cold part.
    pub(crate) fn cold_bytes(&self) -> usize {
        self.cold_bytes
    }

    /// `len` bytes of the warm part.
    pub(crate) fn warm(&self, at: usize, len: usize) -> *mut u8 {
        assert!(
            at.checked_add(len)
                .is_some_and(|end| end <= Self::WARM_BYTES),
            "a slot lies in the warm part"
        );
        // Stays in the mapping, as just checked; the memory itself is not looked at.
        self.warm.wrapping_add(at)
    }

    /// `len` bytes of the cold part.
    pub(crate) fn cold(&self, at: usize, len: usize) -> *mut u8 {
        assert!(
            at.checked_add(len)
                .is_some_and(|end| end <= self.cold_bytes),
            "a request lies in the cold part"
        );
        self.cold.wrapping_add(at)
    }

    /// Makes the cold part untouched again: the next touch of every page faults, and finds zeroes.
    pub(crate) fn cool(&self) -> io::Result<()> {
        // SAFETY: the range is our own anonymous mapping, no reference to it exists, and to lose
        // its contents is what we want.
        unsafe { rustix::mm::madvise(self.cold.cast(), self.cold_bytes, Advice::LinuxDontNeed) }?;
        Ok(())
    }
}

fn map(bytes: usize) -> io::Result<*mut u8> {
    // SAFETY: a new mapping at an address that the kernel chooses replaces nothing.
    let address = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )?
    };
    // Small pages: a huge page would make 511 later requests warm, and would make the figures
    // depend on a switch in /sys.
    // SAFETY: our own mapping, and an advice that never changes contents. A kernel without huge
    // pages refuses it, which is as good.
    let _ = unsafe { rustix::mm::madvise(address, bytes, Advice::LinuxNoHugepage) };
    Ok(address.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cooled_memory_is_zero_again_and_warm_memory_stays() {
        let memory = Memory::new(64 << 10).expect("memory");
        // SAFETY: both lie in the mappings, and nobody else uses them.
        unsafe {
            memory.cold(8192, 1).write(7);
            let before = memory.warm(0, 8).cast::<u64>().read();
            memory.cool().expect("madvise");
            assert_eq!(memory.cold(8192, 1).read(), 0);
            assert_eq!(memory.warm(0, 8).cast::<u64>().read(), before);
            assert_ne!(before, 0);
        }
    }
}
