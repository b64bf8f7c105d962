//! Asynchronous direct I/O for Linux whose submission path never takes a page fault, and whose every request has one honest result.

mod driver;
mod engine;
mod file;
pub mod memory;
mod sys;
mod transfer;

pub use driver::{BackendChoice as Backend, Histogram, Stats, SubmitTiming};
pub use engine::{Engine, EngineBuilder, EngineInfo, Io, IoVec, LeftBehind, Pool, PoolBuf, RawIo, Region, RegionBuf, Simple, left_behind};
pub use file::{Alignment, AlignmentSource, File, IoPath, OpenOptions, Policy, Reason};
pub use memory::{Access, AlignedBuf, IoBuf, IoBufExt, IoBufMut, Slice, fault_in_readable, fault_in_writeable, resident_prefix};
