//! System calls as the tests need them: results as `Result<usize, errno>`, addresses as plain
//! numbers.
//!
//! Addresses are numbers on purpose: half of the tests hand the kernel memory that no Rust
//! reference may name.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The page size that the zoo is laid out for.
pub(crate) const PAGE: usize = 4096;

/// What a request gave: the bytes moved, or the errno.
pub(crate) type Outcome = Result<usize, i32>;

/// One segment: address and bytes.
pub(crate) type Seg = (usize, usize);

pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub(crate) fn outcome(returned: isize) -> Outcome {
    if returned < 0 {
        Err(errno())
    } else {
        Ok(returned as usize)
    }
}

/// The outcome that a `std::io` result stands for; an error without errno is a failure of the test.
pub(crate) fn outcome_of(result: io::Result<usize>) -> Outcome {
    result.map_err(|error| {
        error
            .raw_os_error()
            .unwrap_or_else(|| panic!("an error without errno: {error:?}"))
    })
}

pub(crate) fn say(text: &str) {
    // SAFETY: the text is readable for its length, which is all that write needs.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// `pread` to any address. The caller answers for what stands there.
pub(crate) unsafe fn pread(fd: RawFd, seg: Seg, offset: u64) -> Outcome {
    // SAFETY: the caller says that the memory may be overwritten; bad addresses are the kernel's to
    // refuse.
    outcome(unsafe { libc::pread64(fd, seg.0 as *mut _, seg.1, offset as i64) })
}

/// `pwrite` from any address: the kernel only reads there.
pub(crate) fn pwrite(fd: RawFd, seg: Seg, offset: u64) -> Outcome {
    // SAFETY: the kernel only reads the memory and refuses a bad address.
    outcome(unsafe { libc::pwrite64(fd, seg.0 as *const _, seg.1, offset as i64) })
}

fn iovecs(segs: &[Seg]) -> Vec<libc::iovec> {
    segs.iter()
        .map(|&(base, len)| libc::iovec {
            iov_base: base as *mut _,
            iov_len: len,
        })
        .collect()
}

/// `preadv` to any addresses. The caller answers for what stands there.
pub(crate) unsafe fn preadv(fd: RawFd, segs: &[Seg], offset: u64) -> Outcome {
    let iov = iovecs(segs);
    // SAFETY: the array lives for the call; the caller says that the memory may be overwritten.
    outcome(unsafe { libc::preadv64(fd, iov.as_ptr(), iov.len() as i32, offset as i64) })
}

/// `pwritev` from any addresses.
pub(crate) fn pwritev(fd: RawFd, segs: &[Seg], offset: u64) -> Outcome {
    let iov = iovecs(segs);
    // SAFETY: the array lives for the call; the kernel only reads the memory.
    outcome(unsafe { libc::pwritev64(fd, iov.as_ptr(), iov.len() as i32, offset as i64) })
}

/// Copies what can be read at `address`, at most `len` bytes, without a signal where nothing
/// stands.
pub(crate) fn peek(address: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0_u8; len];
    let local = libc::iovec {
        iov_base: address as *mut _,
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: out.as_mut_ptr().cast(),
        iov_len: len,
    };
    // The foreign memory is on the local side, where the kernel copies instead of pinning:
    // memfd_secret can be read that way.
    // SAFETY: the kernel writes to `out` only, for its length.
    let got = unsafe { libc::process_vm_writev(libc::getpid(), &local, 1, &remote, 1, 0) };
    out.truncate(got.max(0) as usize);
    out
}

/// Reads the whole range of a file through a descriptor, less what is past its end.
pub(crate) fn read_range(fd: RawFd, offset: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0_u8; len];
    let mut done = 0;
    while done < len {
        // SAFETY: the rest of `out` is this function's own.
        match unsafe {
            pread(
                fd,
                (out.as_mut_ptr() as usize + done, len - done),
                offset + done as u64,
            )
        } {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(errno) => panic!("comparing read at {offset}: errno {errno}"),
        }
    }
    out.truncate(done);
    out
}

/// The size of a file, or the capacity of a block device.
pub(crate) fn size_of_file(fd: RawFd) -> u64 {
    const BLKGETSIZE64: libc::Ioctl = 0x8008_1272_u32 as libc::Ioctl;
    // SAFETY: an all-zero stat is a valid value of the plain C struct, which fstat fills; the ioctl
    // fills eight bytes of ours.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(fd, &mut stat), 0, "fstat");
        if stat.st_mode & libc::S_IFMT != libc::S_IFBLK {
            return stat.st_size as u64;
        }
        let mut bytes = 0u64;
        assert_eq!(libc::ioctl(fd, BLKGETSIZE64, &mut bytes), 0, "BLKGETSIZE64");
        bytes
    }
}

/// Faults of the calling thread so far: (minor, major).
pub(crate) fn thread_faults() -> (i64, i64) {
    // SAFETY: an all-zero rusage is a valid value of the plain C struct, and getrusage fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage),
            0,
            "getrusage"
        );
        (usage.ru_minflt, usage.ru_majflt)
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no argument, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: the tests that close a descriptor under somebody's feet do it on purpose and own the
    // number.
    unsafe { libc::close(fd) };
}

fn owned(fd: i64) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made for this call; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Memory that not even the kernel maps.
pub(crate) fn memfd_secret() -> io::Result<OwnedFd> {
    // SAFETY: one flag word, no memory.
    owned(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })
}

/// A file in memory.
pub(crate) fn memfd() -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    owned(unsafe { libc::memfd_create(c"nofault-test".as_ptr(), libc::MFD_CLOEXEC) }.into())
}

/// The two ends of a pipe: (reader, writer).
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(made, 0, "pipe2");
    (
        owned(ends[0].into()).unwrap(),
        owned(ends[1].into()).unwrap(),
    )
}

pub(crate) fn ftruncate(fd: RawFd, len: u64) {
    // SAFETY: numbers only.
    let result = unsafe { libc::ftruncate64(fd, len as i64) };
    assert_eq!(result, 0, "ftruncate {len}: errno {}", errno());
}

/// `fallocate`; true if the filesystem can.
pub(crate) fn fallocate(fd: RawFd, mode: i32, offset: u64, len: u64) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::fallocate64(fd, mode, offset as i64, len as i64) == 0 }
}

/// Writes the file's dirty pages back and drops what the page cache has of it; a hint, so the
/// result does not matter.
pub(crate) fn drop_cache(fd: RawFd) {
    // SAFETY: numbers only.
    unsafe {
        libc::sync_file_range(
            fd,
            0,
            0,
            libc::SYNC_FILE_RANGE_WAIT_BEFORE
                | libc::SYNC_FILE_RANGE_WRITE
                | libc::SYNC_FILE_RANGE_WAIT_AFTER,
        );
        libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED);
    }
}

/// The error that the next fsync of this descriptor would give for writes of the past, if any.
/// Takes it off.
pub(crate) fn take_write_error(fd: RawFd) -> Option<i32> {
    // SAFETY: numbers only. No byte is written: this waits for what is under way in the first page,
    // and asks.
    let result = unsafe { libc::sync_file_range(fd, 0, 1, libc::SYNC_FILE_RANGE_WAIT_BEFORE) };
    (result != 0).then(errno)
}

/// A child of this process that shares every page with it, until dropped.
pub(crate) struct Twin(libc::pid_t);

impl Twin {
    pub(crate) fn fork() -> Self {
        // SAFETY: the child makes two system calls and no allocation, which is all that may be done
        // after fork in a threaded process.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: errno {}", errno());
        if pid == 0 {
            // SAFETY: system calls only, as above.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    libc::pause();
                }
            }
        }
        Self(pid)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // SAFETY: our own child, not yet waited for, so the number is still its.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// Opens with raw flags.
pub(crate) fn open(path: &std::path::Path, flags: i32) -> io::Result<std::fs::File> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a C string that lives for the call.
    let fd = unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, 0o644) };
    owned(fd.into()).map(std::fs::File::from)
}

/// The raw number of anything that has a descriptor.
pub(crate) fn fd_of(file: &impl AsRawFd) -> RawFd {
    file.as_raw_fd()
}

/// The flags of the open file (F_GETFL).
pub(crate) fn status_flags(fd: RawFd) -> i32 {
    // SAFETY: numbers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    assert!(flags >= 0, "F_GETFL: errno {}", errno());
    flags
}

/// A write lock on the whole file, set or asked for by one of fcntl's commands; gives the kind of
/// lock that the kernel says there is.
pub(crate) fn record_lock(fd: RawFd, command: i32) -> Result<i16, i32> {
    // SAFETY: an all-zero flock is a valid value of the plain C struct.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    // SAFETY: the struct is ours and lives for the call.
    match unsafe { libc::fcntl(fd, command, &mut lock) } {
        0 => Ok(lock.l_type),
        _ => Err(errno()),
    }
}
