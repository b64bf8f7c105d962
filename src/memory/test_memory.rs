//! Memory of every kind, for the tests of this layer: each in a mapping of its own, given back at
//! the end.
//!
//! May know: mmap and its relatives. Must not know: what the code under test thinks of any of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

use crate::sys::page_size;

/// Runs the test of this name in a process of its own and returns from the caller; in that process,
/// goes on with the caller.
///
/// Another test's fork makes this one's pages shared, and another's mmap fills this one's holes:
/// facts about an address space need one for themselves.
macro_rules! alone {
    ($name:ident) => {
        if crate::memory::test_memory::ran_alone(concat!(module_path!(), "::", stringify!($name))) {
            return;
        }
    };
}
pub(super) use alone;

/// What [`alone`] does. False in the process made for the test.
pub(super) fn ran_alone(path: &str) -> bool {
    const VARIABLE: &str = "NOFAULT_TEST_ALONE";
    if std::env::var_os(VARIABLE).is_some() {
        // Maps a page once and for all: not in the hole that a test makes.
        crate::sys::address_space::generation();
        return false;
    }
    let (_crate, name) = path.split_once("::").unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| line.find("skipped: ").map(|at| &line[at..]))
        .for_each(|line| println!("{line}"));
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "no test of the name {name}");
    true
}

/// A mapping, unmapped when dropped.
pub(super) struct Map {
    pub(super) ptr: *mut u8,
    pub(super) len: usize,
}

pub(super) const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Map {
    /// `pages` pages with these `flags` of mmap, and of this `file`.
    pub(super) fn new(pages: usize, prot: i32, flags: i32, file: Option<&File>) -> io::Result<Map> {
        let len = pages * page_size();
        let fd = file.map_or(-1, |file| file.as_raw_fd());
        // SAFETY: a new mapping at an address that the kernel chooses.
        let ptr = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, fd, 0) };
        if ptr == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Map {
                ptr: ptr.cast(),
                len,
            })
        }
    }

    /// Private anonymous memory, not touched. Kept from merging into huge pages.
    pub(super) fn anon(pages: usize) -> Map {
        let map = Map::new(
            pages,
            READ_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            None,
        )
        .unwrap();
        map.advise(0, pages, libc::MADV_NOHUGEPAGE).unwrap();
        map
    }

    pub(super) fn shared(pages: usize, file: &File) -> Map {
        Map::new(pages, READ_WRITE, libc::MAP_SHARED, Some(file)).unwrap()
    }

    pub(super) fn private(pages: usize, file: &File) -> Map {
        Map::new(pages, READ_WRITE, libc::MAP_PRIVATE, Some(file)).unwrap()
    }

    /// Attached SysV shared memory, removed with the process's last use of it.
    pub(super) fn sysv(pages: usize) -> io::Result<Map> {
        let len = pages * page_size();
        // SAFETY: a new private segment.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, len, libc::IPC_CREAT | 0o600) };
        if id < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: attached where the kernel likes; removal only marks it.
        let ptr = unsafe {
            let ptr = libc::shmat(id, ptr::null(), 0);
            libc::shmctl(id, libc::IPC_RMID, ptr::null_mut());
            ptr
        };
        if ptr as isize == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(Map {
                ptr: ptr.cast(),
                len,
            })
        }
    }

    pub(super) fn page(&self, index: usize) -> *mut u8 {
        // Checked: every test stays inside.
        assert!(index * page_size() <= self.len);
        self.ptr.wrapping_add(index * page_size())
    }

    pub(super) fn addr(&self, index: usize) -> usize {
        self.page(index).addr()
    }

    /// Writes a byte that tells the pages apart to each of the pages.
    pub(super) fn write(&self, pages: std::ops::Range<usize>) -> &Map {
        for index in pages {
            // SAFETY: inside the mapping; the test knows that it may be written.
            unsafe { self.page(index).write_volatile(index as u8 | 1) };
        }
        self
    }

    /// Reads a byte of each of the pages.
    pub(super) fn read(&self, pages: std::ops::Range<usize>) -> Vec<u8> {
        // SAFETY: inside the mapping; the test knows that it may be read.
        pages
            .map(|index| unsafe { self.page(index).read_volatile() })
            .collect()
    }

    pub(super) fn advise(&self, first: usize, pages: usize, advice: i32) -> io::Result<()> {
        // SAFETY: the range is this mapping's own; the tests keep no references into it.
        let result = unsafe { libc::madvise(self.page(first).cast(), pages * page_size(), advice) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub(super) fn protect(&self, first: usize, pages: usize, prot: i32) {
        // SAFETY: as above.
        let result = unsafe { libc::mprotect(self.page(first).cast(), pages * page_size(), prot) };
        assert_eq!(result, 0);
    }

    /// Puts inaccessible memory of the kind in place of one page. False: this kernel does not have
    /// it.
    pub(super) fn spoil(&self, index: usize, how: Bad) -> bool {
        match how {
            Bad::Protected => self.protect(index, 1, libc::PROT_NONE),
            Bad::Hole => {
                // SAFETY: one page of this mapping, which no other code uses until the mapping is
                // dropped.
                let result = unsafe { libc::munmap(self.page(index).cast(), page_size()) };
                assert_eq!(result, 0);
            }
            Bad::Guard => return self.advise(index, 1, MADV_GUARD_INSTALL).is_ok(),
            Bad::ReadOnly => self.protect(index, 1, libc::PROT_READ),
        }
        true
    }

    /// Puts the start of `file`, shared, in place of some pages.
    pub(super) fn replace(&self, first: usize, pages: usize, file: &File) {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: the pages are this mapping's own.
        let ptr = unsafe {
            libc::mmap(
                self.page(first).cast(),
                pages * page_size(),
                READ_WRITE,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(ptr, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own. shmdt for the SysV ones is not needed: munmap
        // detaches.
        unsafe { libc::munmap(self.ptr.cast(), self.len) };
    }
}

/// Linux 6.13.
pub(super) const MADV_GUARD_INSTALL: i32 = 102;

/// Ways for a page to be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Protected,
    Hole,
    Guard,
    /// Bad for writing only.
    ReadOnly,
}

/// A file on disk (or what /tmp is) with `pages` pages of data, in the page cache.
pub(super) fn file(pages: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![5; pages * page_size()]).unwrap();
    file
}

pub(super) fn memfd(pages: usize) -> File {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: just made, owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len((pages * page_size()) as u64).unwrap();
    file
}

/// `None` with a printed reason where the kernel has no memfd_secret.
pub(super) fn memfd_secret(pages: usize) -> Option<File> {
    // SAFETY: takes flags only.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    if fd < 0 {
        println!("skipped: memfd_secret: {}", io::Error::last_os_error());
        return None;
    }
    // SAFETY: just made, owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd as i32) };
    file.set_len((pages * page_size()) as u64).unwrap();
    Some(file)
}

/// A child made by fork that stays until this is dropped: written pages are shared with it.
pub(super) struct Child(libc::pid_t);

impl Child {
    pub(super) fn that_waits() -> Child {
        // SAFETY: the child calls nothing but pause, which is async-signal-safe.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        }
        Child(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the process is our child, not yet waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

/// Runs `work` in a child of fork and gives its answer back. `work` must not panic.
pub(super) fn in_child(work: impl FnOnce() -> u8) -> u8 {
    // SAFETY: the child runs `work`, which allocates at most (the C library's fork leaves malloc
    // usable), and leaves without running anything of the parent's.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let answer = work();
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(answer.into()) };
    }
    let mut status = 0;
    // SAFETY: our child; `status` is a valid place.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(
        libc::WIFEXITED(status),
        "the child was killed: status {status:#x}"
    );
    libc::WEXITSTATUS(status) as u8
}

/// A userfaultfd over a mapping that nobody answers. Faults of the kernel in it fail at once
/// (UFFD_USER_MODE_ONLY) instead of waiting.
pub(super) struct Unanswered {
    file: File,
}

#[repr(C)]
struct UffdApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct UffdRange {
    start: u64,
    len: u64,
    mode: u64,
}

#[repr(C)]
struct UffdRegister {
    range: UffdRange,
    ioctls: u64,
}

const UFFD_USER_MODE_ONLY: i32 = 1;
const MODE_MISSING: u64 = 1;
const MODE_WP: u64 = 2;

impl Unanswered {
    /// For faults on missing pages, or with `write_protect` for writes to the pages.
    pub(super) fn over(
        map: &Map,
        first: usize,
        pages: usize,
        write_protect: bool,
    ) -> io::Result<Unanswered> {
        // SAFETY: takes flags only.
        let fd =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and has no other owner.
        let file = unsafe { File::from_raw_fd(fd as i32) };
        let uffd = Unanswered { file };
        let mut api = UffdApi {
            api: 0xaa,
            features: if write_protect { 1 } else { 0 },
            ioctls: 0,
        };
        uffd.ioctl(libc::_IOWR::<UffdApi>(0xaa, 0x3f), &raw mut api)?;
        let range = || UffdRange {
            start: map.addr(first) as u64,
            len: (pages * page_size()) as u64,
            mode: MODE_MISSING,
        };
        let mut register = UffdRegister {
            range: range(),
            ioctls: 0,
        };
        if write_protect {
            register.range.mode = MODE_WP;
        }
        uffd.ioctl(libc::_IOWR::<UffdRegister>(0xaa, 0), &raw mut register)?;
        if write_protect {
            let mut protect = range();
            uffd.ioctl(libc::_IOWR::<UffdRange>(0xaa, 6), &raw mut protect)?;
        }
        Ok(uffd)
    }

    fn ioctl<T>(&self, request: libc::Ioctl, argument: *mut T) -> io::Result<()> {
        // SAFETY: `argument` is the struct that the request's number names, alive in the caller.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), request, argument) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
