//! Page-aligned memory that every runtime takes as a buffer.
//!
//! The peers must not differ in what they read into, so there is one type, and it has the buffer
//! trait of each runtime.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::job::PAGE;

/// Some pages of ordinary memory. The address stays when the value is moved.
pub(crate) struct Buffer {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone, as with a Box.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Zeroed. `bytes` is not 0.
    pub(crate) fn new(bytes: usize) -> io::Result<Buffer> {
        let layout = Layout::from_size_align(bytes.max(1), PAGE).map_err(io::Error::other)?;
        // SAFETY: the layout has at least one byte.
        let ptr =
            NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Buffer { ptr, layout })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and whoever lent it to the kernel owned it
        // until the request had ended.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: allocated, zeroed at first, and this value's own.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.layout.size()) }
    }
}

// SAFETY: the memory stays where it is while the value lives, is initialised, and leaks with the
// value.
unsafe impl nofault::IoBuf for Buffer {
    #[inline]
    fn stable_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    #[inline]
    fn bytes_init(&self) -> usize {
        self.layout.size()
    }
}

// SAFETY: as above; nothing but this value reaches the memory.
unsafe impl nofault::IoBufMut for Buffer {
    #[inline]
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    #[inline]
    fn bytes_total(&self) -> usize {
        self.layout.size()
    }

    #[inline]
    unsafe fn set_init(&mut self, _count: usize) {}
}

#[cfg(feature = "tokio-uring")]
mod for_tokio_uring {
    use super::Buffer;

    // SAFETY: the memory stays where it is while the value lives, and is initialised.
    unsafe impl tokio_uring::buf::IoBuf for Buffer {
        #[inline]
        fn stable_ptr(&self) -> *const u8 {
            self.ptr.as_ptr()
        }

        #[inline]
        fn bytes_init(&self) -> usize {
            self.layout.size()
        }

        #[inline]
        fn bytes_total(&self) -> usize {
            self.layout.size()
        }
    }

    // SAFETY: as above.
    unsafe impl tokio_uring::buf::IoBufMut for Buffer {
        #[inline]
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            self.ptr.as_ptr()
        }

        #[inline]
        unsafe fn set_init(&mut self, _pos: usize) {}
    }
}

#[cfg(feature = "monoio")]
mod for_monoio {
    use super::Buffer;

    // SAFETY: the memory stays where it is while the value lives, and is initialised.
    unsafe impl monoio::buf::IoBuf for Buffer {
        #[inline]
        fn read_ptr(&self) -> *const u8 {
            self.ptr.as_ptr()
        }

        #[inline]
        fn bytes_init(&self) -> usize {
            self.layout.size()
        }
    }

    // SAFETY: as above.
    unsafe impl monoio::buf::IoBufMut for Buffer {
        #[inline]
        fn write_ptr(&mut self) -> *mut u8 {
            self.ptr.as_ptr()
        }

        #[inline]
        fn bytes_total(&mut self) -> usize {
            self.layout.size()
        }

        #[inline]
        unsafe fn set_init(&mut self, _pos: usize) {}
    }
}

#[cfg(feature = "compio")]
mod for_compio {
    use std::mem::MaybeUninit;

    use super::Buffer;

    impl compio::buf::IoBuf for Buffer {
        #[inline]
        fn as_init(&self) -> &[u8] {
            self
        }
    }

    impl compio::buf::SetLen for Buffer {
        #[inline]
        unsafe fn set_len(&mut self, _len: usize) {}
    }

    impl compio::buf::IoBufMut for Buffer {
        #[inline]
        fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
            // SAFETY: the same bytes, which compio only lets the kernel fill; none becomes
            // uninitialised by that.
            unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr().cast(), self.layout.size()) }
        }
    }
}
