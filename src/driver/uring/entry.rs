//! Submission queue entries: one for each operation.

use io_uring::{opcode, squeue, types};

use super::super::op::{Memory, Op};
use crate::open_file::FileRef;

/// `struct io_uring_sqe` of include/uapi/linux/io_uring.h, with the names that reads and writes
/// give its unions.
#[repr(C)]
struct Sqe {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    offset: u64,
    addr: u64,
    len: u32,
    rw_flags: u32,
    user_data: u64,
    buffer: u16,
    personality: u16,
    file: u32,
    addr3: u64,
    reserved: u64,
}

/// A read or write on the submitting thread. Made here and not by the io-uring crate, whose entries
/// are put together in several copies: this is what every request comes through.
#[inline(always)]
pub(super) fn plain(
    write: bool,
    file: FileRef,
    memory: Memory,
    offset: u64,
    priority: u16,
    token: u64,
) -> squeue::Entry {
    let (addr, len, buffer, [read, written]) = match memory {
        Memory::One {
            addr,
            len,
            fixed: None,
        } => (
            addr as u64,
            len as u32,
            0,
            [opcode::Read::CODE, opcode::Write::CODE],
        ),
        Memory::One {
            addr,
            len,
            fixed: Some(buffer),
        } => (
            addr as u64,
            len as u32,
            buffer,
            [opcode::ReadFixed::CODE, opcode::WriteFixed::CODE],
        ),
        Memory::Many { iov, count } => (
            iov.expose_provenance() as u64,
            count,
            0,
            [opcode::Readv::CODE, opcode::Writev::CODE],
        ),
    };
    let entry = Sqe {
        opcode: if write { written } else { read },
        flags: if file.registered {
            squeue::Flags::FIXED_FILE.bits()
        } else {
            0
        },
        ioprio: priority,
        fd: file.number,
        offset,
        addr,
        len,
        rw_flags: 0,
        user_data: token,
        buffer,
        personality: 0,
        file: 0,
        addr3: 0,
        reserved: 0,
    };
    // SAFETY: `squeue::Entry` is declared to be that same struct of the kernel's (repr(C), one
    // field), for which all bits are valid; the sizes are compared at compile time.
    unsafe { std::mem::transmute::<Sqe, squeue::Entry>(entry) }
}

/// Says what the number in the entry's place for a descriptor is.
fn on(file: FileRef, entry: squeue::Entry) -> squeue::Entry {
    if file.registered {
        entry.flags(squeue::Flags::FIXED_FILE)
    } else {
        entry
    }
}

/// An operation.
pub(super) fn entry(op: Op, token: u64) -> squeue::Entry {
    let entry = match op {
        Op::Rw {
            write,
            file,
            memory,
            offset,
            offload,
            priority,
        } => {
            let entry = plain(write, file, memory, offset, priority, token);
            if offload {
                entry.flags(squeue::Flags::ASYNC)
            } else {
                entry
            }
        }
        Op::Populate { addr, len, write } => {
            let advice = if write {
                libc::MADV_POPULATE_WRITE
            } else {
                libc::MADV_POPULATE_READ
            };
            opcode::Madvise::new(
                std::ptr::without_provenance(addr),
                len as libc::off_t,
                advice,
            )
            .build()
        }
        Op::Sync { file, data_only } => {
            let flags = if data_only {
                types::FsyncFlags::DATASYNC
            } else {
                types::FsyncFlags::empty()
            };
            on(
                file,
                opcode::Fsync::new(types::Fd(file.number))
                    .flags(flags)
                    .build(),
            )
        }
        Op::Allocate { file, offset, len } => on(
            file,
            opcode::Fallocate::new(types::Fd(file.number), len)
                .offset(offset)
                .build(),
        ),
        Op::SetLen { file, len } => on(
            file,
            opcode::Ftruncate::new(types::Fd(file.number), len).build(),
        ),
    };
    entry.user_data(token)
}
