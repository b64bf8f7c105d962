//! Submission queue entries: one for each operation.

use io_uring::{opcode, squeue, types};

use super::super::op::{FileRef, Memory, Op};

macro_rules! on_file {
    ($file:expr, $fd:ident => $build:expr) => {
        match $file {
            FileRef { fixed: Some(index), .. } => {
                let $fd = types::Fixed(index);
                $build
            }
            FileRef { raw, fixed: None, .. } => {
                let $fd = types::Fd(raw);
                $build
            }
        }
    };
}

/// A read or write on the submitting thread.
#[inline]
pub(super) fn plain(write: bool, file: FileRef, memory: Memory, offset: u64, priority: u16) -> squeue::Entry {
    on_file!(file, fd => rw(write, fd, memory, offset, priority))
}

pub(super) fn entry(op: Op) -> squeue::Entry {
    match op {
        Op::Rw { write, file, memory, offset, offload, priority } => {
            let entry = plain(write, file, memory, offset, priority);
            if offload { entry.flags(squeue::Flags::ASYNC) } else { entry }
        }
        Op::Populate { addr, len, write } => {
            let advice = if write { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
            opcode::Madvise::new(std::ptr::without_provenance(addr), len as libc::off_t, advice).build()
        }
        Op::Sync { file, data_only } => {
            let flags = if data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
            on_file!(file, fd => opcode::Fsync::new(fd).flags(flags).build())
        }
        Op::Allocate { file, offset, len } => on_file!(file, fd => opcode::Fallocate::new(fd, len).offset(offset).build()),
        Op::SetLen { file, len } => on_file!(file, fd => opcode::Ftruncate::new(fd, len).build()),
    }
}

#[inline]
fn rw(write: bool, fd: impl sealed::Target, memory: Memory, offset: u64, priority: u16) -> squeue::Entry {
    let pointer = std::ptr::with_exposed_provenance_mut::<u8>;
    match (write, memory) {
        (false, Memory::One { addr, len, fixed: None }) => fd.read(pointer(addr), len as u32, offset, priority),
        (true, Memory::One { addr, len, fixed: None }) => fd.write(pointer(addr), len as u32, offset, priority),
        (false, Memory::One { addr, len, fixed: Some(index) }) => fd.read_fixed(pointer(addr), len as u32, index, offset, priority),
        (true, Memory::One { addr, len, fixed: Some(index) }) => fd.write_fixed(pointer(addr), len as u32, index, offset, priority),
        (false, Memory::Many { iov, count }) => fd.readv(iov, count, offset, priority),
        (true, Memory::Many { iov, count }) => fd.writev(iov, count, offset, priority),
    }
}

/// The io-uring crate seals its own trait over the two kinds of descriptor, so what is needed of it is named here once.
mod sealed {
    use super::{opcode, squeue, types};

    pub(super) trait Target: Copy {
        fn read(self, to: *mut u8, len: u32, offset: u64, priority: u16) -> squeue::Entry;
        fn write(self, from: *const u8, len: u32, offset: u64, priority: u16) -> squeue::Entry;
        fn read_fixed(self, to: *mut u8, len: u32, index: u16, offset: u64, priority: u16) -> squeue::Entry;
        fn write_fixed(self, from: *const u8, len: u32, index: u16, offset: u64, priority: u16) -> squeue::Entry;
        fn readv(self, iov: *const libc::iovec, count: u32, offset: u64, priority: u16) -> squeue::Entry;
        fn writev(self, iov: *const libc::iovec, count: u32, offset: u64, priority: u16) -> squeue::Entry;
    }

    macro_rules! target {
        ($kind:ty) => {
            impl Target for $kind {
                fn read(self, to: *mut u8, len: u32, offset: u64, priority: u16) -> squeue::Entry {
                    opcode::Read::new(self, to, len).offset(offset).ioprio(priority).build()
                }
                fn write(self, from: *const u8, len: u32, offset: u64, priority: u16) -> squeue::Entry {
                    opcode::Write::new(self, from, len).offset(offset).ioprio(priority).build()
                }
                fn read_fixed(self, to: *mut u8, len: u32, index: u16, offset: u64, priority: u16) -> squeue::Entry {
                    opcode::ReadFixed::new(self, to, len, index).offset(offset).ioprio(priority).build()
                }
                fn write_fixed(self, from: *const u8, len: u32, index: u16, offset: u64, priority: u16) -> squeue::Entry {
                    opcode::WriteFixed::new(self, from, len, index).offset(offset).ioprio(priority).build()
                }
                fn readv(self, iov: *const libc::iovec, count: u32, offset: u64, priority: u16) -> squeue::Entry {
                    opcode::Readv::new(self, iov, count).offset(offset).ioprio(priority).build()
                }
                fn writev(self, iov: *const libc::iovec, count: u32, offset: u64, priority: u16) -> squeue::Entry {
                    opcode::Writev::new(self, iov, count).offset(offset).ioprio(priority).build()
                }
            }
        };
    }
    target!(types::Fd);
    target!(types::Fixed);
}
