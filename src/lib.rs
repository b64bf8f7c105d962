//! Asynchronous direct I/O for Linux whose submission path never takes a page fault, and whose every request has one honest result.

pub mod memory;
mod sys;

pub use memory::{Access, AlignedBuf, IoBuf, IoBufExt, IoBufMut, Slice, fault_in_readable, fault_in_writeable, resident_prefix};
