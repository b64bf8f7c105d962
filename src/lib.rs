//! Asynchronous direct I/O for Linux whose submission path never takes a page fault, and whose every request has one honest result.

pub mod memory;
mod transfer;
