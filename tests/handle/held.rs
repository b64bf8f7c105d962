//! A buffer whose memory the test can get at while a request has it, and that says when it is
//! dropped.

use crate::common::mapping::Mapping;
use nofault::{IoBuf, IoBufMut};
use std::sync::Arc;
use std::sync::mpsc::Sender;

pub(crate) struct Held {
    memory: Arc<Mapping>,
    len: usize,
    dropped: Sender<()>,
}

impl Held {
    /// Fresh memory, of which no page is there.
    pub(crate) fn new(len: usize, dropped: &Sender<()>) -> Held {
        Held {
            memory: Arc::new(Mapping::anon(len)),
            len,
            dropped: dropped.clone(),
        }
    }

    pub(crate) fn memory(&self) -> Arc<Mapping> {
        self.memory.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.dropped.send(());
    }
}

// SAFETY: the mapping stays where it is as long as somebody holds it, and nobody touches it but by
// the request and, after it, the test.
unsafe impl IoBuf for Held {
    fn stable_ptr(&self) -> *const u8 {
        self.memory.address() as *const u8
    }

    fn bytes_init(&self) -> usize {
        self.len
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Held {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory.address() as *mut u8
    }

    fn bytes_total(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

/// A wrapper around a buffer, as good a buffer as what is in it.
#[allow(unused_macros)]
macro_rules! delegate {
    ($wrapper:ty) => {
        // SAFETY: the inner buffer's promises.
        unsafe impl nofault::IoBuf for $wrapper {
            fn stable_ptr(&self) -> *const u8 {
                self.0.stable_ptr()
            }
            fn bytes_init(&self) -> usize {
                self.0.bytes_init()
            }
        }
        // SAFETY: the inner buffer's promises.
        unsafe impl nofault::IoBufMut for $wrapper {
            fn stable_mut_ptr(&mut self) -> *mut u8 {
                self.0.stable_mut_ptr()
            }
            fn bytes_total(&self) -> usize {
                self.0.bytes_total()
            }
            unsafe fn set_init(&mut self, count: usize) {
                // SAFETY: the caller's contract.
                unsafe { self.0.set_init(count) }
            }
        }
    };
}
#[allow(unused_imports)]
pub(crate) use delegate;
