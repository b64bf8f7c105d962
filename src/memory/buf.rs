//! The values whose memory may be lent to the kernel for the time of a request.
//!
//! A request outlives the call that makes it: the kernel reads or fills the memory at any time
//! until the last completion is reaped. The two traits name what the memory must keep until then.
//! They are unsafe because the compiler does not check it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The place of a buffer in the table of registered buffers of one engine.
///
/// Pools and regions hand it out. Every other engine ignores it and treats the memory as foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The engine that registered the memory.
    pub(crate) engine: u64,
    /// The address where the registration starts, in bytes.
    pub(crate) base: usize,
    /// The index of the first entry; an entry covers [`Pinned::ENTRY_BYTES`] bytes.
    pub(crate) index: u16,
}

impl Pinned {
    /// The largest size of one entry of io_uring's table of registered buffers
    /// (`io_buffer_validate` in io_uring/rsrc.c), in bytes.
    pub const ENTRY_BYTES: usize = 1 << 30;
}

/// Memory that a write may send.
///
/// # Safety
///
/// From the moment the value is given to a request until it is given back or dropped:
///
/// - `stable_ptr` returns the same address, also after the value was moved;
/// - the `bytes_init` bytes from that address on stay mapped and initialised, and no other code
///   writes to them;
/// - leaking the value (`mem::forget`) leaks the memory too.
///
/// An array on the stack, or a `SmallVec` that holds its bytes inline, moves with the value and so
/// breaks this contract.
pub unsafe trait IoBuf: 'static {
    /// The address of the first byte.
    fn stable_ptr(&self) -> *const u8;

    /// How many bytes from `stable_ptr` on are initialised: what a write sends.
    fn bytes_init(&self) -> usize;

    /// The registration of the memory, if it has one.
    fn pinned(&self) -> Option<Pinned> {
        None
    }
}

/// Memory that a read may fill.
///
/// # Safety
///
/// As for [`IoBuf`], for all `bytes_total` bytes, and no other code reads or writes them while the
/// request lasts.
pub unsafe trait IoBufMut: IoBuf {
    /// The address of the first byte, the same as [`IoBuf::stable_ptr`].
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes a read may fill. For a `Vec<u8>` this is its capacity: a read overwrites the
    /// contents from the first byte on, and sets the length to the number of bytes read if the
    /// length was less.
    fn bytes_total(&self) -> usize;

    /// Records that the first `count` bytes are initialised. Never shortens the buffer.
    ///
    /// # Safety
    ///
    /// The first `count` bytes are initialised, and `count` is at most `bytes_total`.
    unsafe fn set_init(&mut self, count: usize);
}

/// Memory that a write may send while others hold it too: an [`Arc`] of such a buffer is an
/// [`IoBuf`], so that one buffer can go to several files, or be read meanwhile.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// use nofault::{Engine, File, IoBufExt};
/// use std::sync::Arc;
///
/// let engine = Engine::new()?;
/// let copies = ["first", "second"].map(|name| File::create(&engine, dir.path().join(name)));
/// let page = Arc::new(vec![7; 4096]);
/// let writes = copies.iter().flatten().map(|copy| copy.write_all_at(page.clone(), 0));
/// for write in writes.collect::<Vec<_>>() {
///     engine.block_on(write).0?;
/// }
/// assert_eq!(page[0], 7);
/// # Ok(())
/// # }
/// ```
///
/// # Safety
///
/// As for [`IoBuf`], with this in place of sole ownership: as long as a shared reference to the
/// value exists, on any thread, nobody changes the initialised bytes, moves them or gives them away.
/// So a type with a lock or a cell around the bytes is none.
pub unsafe trait SharedIoBuf: IoBuf {}

// SAFETY: an `Arc` neither moves the value nor gives anybody more than a shared reference while this
// one exists, and then `SharedIoBuf` promises that the bytes stay as they are. A leaked `Arc` leaks
// the value.
unsafe impl<B: SharedIoBuf> IoBuf for Arc<B> {
    fn stable_ptr(&self) -> *const u8 {
        (**self).stable_ptr()
    }

    fn bytes_init(&self) -> usize {
        (**self).bytes_init()
    }

    fn pinned(&self) -> Option<Pinned> {
        (**self).pinned()
    }
}

// SAFETY: a shared reference to an `Arc` gives no more than one to the value.
unsafe impl<B: SharedIoBuf> SharedIoBuf for Arc<B> {}

// SAFETY: as for an `Arc` of a `Box<[u8]>`: the bytes stand in the block of the `Arc` itself, which
// does not move either.
unsafe impl IoBuf for Arc<[u8]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above.
unsafe impl SharedIoBuf for Arc<[u8]> {}

/// Buffers whose bytes change, move and go through `&mut self` or by value only, or never.
macro_rules! shared {
    ($($buffer:ty),*) => {
        $(
            // SAFETY: none of these has a method that does so through a shared reference.
            unsafe impl SharedIoBuf for $buffer {}
        )*
    };
}

shared!(
    Vec<u8>,
    Box<[u8]>,
    &'static [u8],
    &'static str,
    Bytes,
    BytesMut
);

// SAFETY: the heap block of a Vec keeps its address when the Vec is moved, is freed only by the
// Vec's drop, and is reachable only through the Vec, which the request owns.
unsafe impl IoBuf for Vec<u8> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; the whole capacity is one allocation.
unsafe impl IoBufMut for Vec<u8> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, count: usize) {
        if count > self.len() {
            // SAFETY: the caller's contract: `count` bytes are initialised and within the capacity.
            unsafe { self.set_len(count) }
        }
    }
}

// SAFETY: the box owns its block alone; moving the box does not move the block.
unsafe impl IoBuf for Box<[u8]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Box<[u8]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.len()
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

// SAFETY: memory that is shared for the rest of the program can't move, go away or be written.
unsafe impl IoBuf for &'static [u8] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; a str is its bytes.
unsafe impl IoBuf for &'static str {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: `Bytes` counts references to an immutable block that stays until the last of them is
// dropped; this one keeps it.
unsafe impl IoBuf for Bytes {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: a `BytesMut` owns its part of the block alone, and the block does not move with the
// handle.
unsafe impl IoBuf for BytesMut {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; the capacity belongs to this handle alone.
unsafe impl IoBufMut for BytesMut {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, count: usize) {
        if count > self.len() {
            // SAFETY: the caller's contract: `count` bytes are initialised and within the capacity.
            unsafe { self.set_len(count) }
        }
    }
}
