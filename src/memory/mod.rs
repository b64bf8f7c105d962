//! Buffers, and what may be known of them without touching them.

mod buf;

pub use buf::{IoBuf, IoBufMut, Pinned};
