//! An [`Engine`](crate::Engine) inside `tokio_uring::start`, and buffers of tokio-uring (feature
//! `tokio-uring`).
//!
//! tokio-uring runs on a current-thread runtime of tokio, so the engine is driven as there:
//! [`drive`] is that of [`nofault::tokio`](crate::tokio). A program can move file by file. What it
//! has, and what it becomes:
//!
//! | tokio-uring | nofault |
//! |---|---|
//! | inside `tokio_uring::start(..)`, nothing | `let engine = Engine::new()?; tokio_uring::spawn(drive(&engine)?);` |
//! | `tokio_uring::fs::File::open(path).await?` | `File::open(&engine, path)?`, a blocking call |
//! | `file.read_at(buffer, offset).await` | the same: `(result, buffer)`; for a buffer type of tokio-uring's, `Buf(buffer)` goes in and out |
//! | `file.write_at(buffer, offset).submit().await` | `file.write_at(buffer, offset).await`, which starts when it is made |
//! | `file.write_all_at(buffer, offset).await` | the same |
//! | `file.sync_all().await` | the same |
//! | `file.close().await` | `drop(file)`; the descriptors are closed after the last request |
//!
//! `Vec<u8>`, `Bytes`, `BytesMut` and static slices are buffers of both, and need no [`Buf`]. A
//! part of a buffer is an [`into_slice`](crate::IoBufExt::into_slice) with nofault; tokio-uring's own slices
//! are no buffers by themselves. `FixedBuf` is accepted, and is foreign memory to nofault:
//! [`Engine::pool`](crate::Engine::pool) has pinned buffers.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! use nofault::tokio_uring::{Buf, drive};
//! use nofault::{Engine, File};
//!
//! tokio_uring::start(async {
//!     // This file has not moved yet.
//!     let old = tokio_uring::fs::File::create(&path).await?;
//!     old.write_all_at(&b"a line"[..], 0).await.0?;
//!     old.close().await?;
//!
//!     let engine = Engine::new()?;
//!     tokio_uring::spawn(drive(&engine)?);
//!     let new = File::open(&engine, &path)?;
//!     let (count, Buf(buffer)) = new.read_at(Buf(Vec::with_capacity(4096)), 2).await;
//!     assert_eq!((count?, &buffer[..]), (4, &b"line"[..]));
//!     Ok(())
//! })
//! # }
//! ```

use ::tokio_uring::buf;

use crate::memory::{IoBuf, IoBufMut};
#[doc(no_inline)]
pub use crate::tokio::{Drive, drive};

/// A buffer of tokio-uring's traits as one of nofault's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buf<B>(pub B);

impl<B: AsRef<[u8]>> AsRef<[u8]> for Buf<B> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl<B: AsMut<[u8]>> AsMut<[u8]> for Buf<B> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_mut()
    }
}

// SAFETY: the trait of tokio-uring promises the same of its implementors: while the runtime, here
// the request, owns the value, the address is valid and does not change, also when the value is
// moved. A leaked value is owned for ever. `bytes_init` bytes of it are initialised.
unsafe impl<B: buf::IoBuf> IoBuf for Buf<B> {
    fn stable_ptr(&self) -> *const u8 {
        self.0.stable_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.bytes_init()
    }
}

// SAFETY: as above, for the `bytes_total` bytes that tokio-uring lets the kernel write.
unsafe impl<B: buf::IoBufMut> IoBufMut for Buf<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.stable_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.0.bytes_total()
    }

    unsafe fn set_init(&mut self, count: usize) {
        // SAFETY: the caller's contract. tokio-uring's `set_init` does not shorten either: what is
        // less than `bytes_init` changes nothing.
        unsafe { self.0.set_init(count) }
    }
}
