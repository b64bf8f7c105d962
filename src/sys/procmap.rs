//! PROCMAP_QUERY on /proc/self/maps (Linux 6.11): which mapping covers one address, without reading
//! the whole text.
//!
//! May know: the ioctl and its struct (include/uapi/linux/fs.h). Must not know: which mappings a
//! request may use.
//!
//! Like the page map, the file belongs to the address space in which it was opened.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `struct procmap_query` of Linux 6.11. Its `size` field tells the kernel which version of the
/// struct a caller has.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

const _: () = assert!(size_of::<Query>() == 104);

/// `PROCMAP_QUERY_VMA_WRITABLE` and `PROCMAP_QUERY_VMA_SHARED`.
const WRITABLE: u64 = 0x02;
const SHARED: u64 = 0x08;

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::Ioctl = libc::_IOWR::<Query>(b'f' as u32, 17);

/// One mapping: the fields of the answer that this crate uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// The first address.
    pub(crate) start: usize,
    /// The address behind the last one.
    pub(crate) end: usize,
    /// PROT_WRITE.
    pub(crate) writable: bool,
    /// MAP_SHARED.
    pub(crate) shared: bool,
    /// The size of its pages, in bytes: larger than the base page for hugetlb only.
    pub(crate) page_bytes: usize,
    /// The device of the file behind it; (0, 0) without a file.
    pub(crate) device: (u32, u32),
    /// The inode of the file behind it; 0 without a file. SysV shared memory has inode 0 as well,
    /// on a device.
    pub(crate) inode: u64,
}

/// An open /proc/self/maps.
#[derive(Debug)]
pub(crate) struct Procmap {
    file: File,
}

impl Procmap {
    /// Opens the list of mappings of this address space.
    pub(crate) fn open() -> io::Result<Procmap> {
        Ok(Procmap {
            file: File::open("/proc/self/maps")?,
        })
    }

    /// The mapping that covers `address`: `Ok(None)` if there is none. ENOTTY (as an error) on a
    /// kernel before 6.11. One system call.
    pub(crate) fn query(&self, address: usize) -> io::Result<Option<Mapping>> {
        let mut query = Query {
            size: size_of::<Query>() as u64,
            query_addr: address as u64,
            ..Query::default()
        };
        // SAFETY: the kernel reads and writes `size` bytes of `query`, which lives on this stack
        // frame; no name or build id is asked for.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
        if result < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENOENT) {
                Ok(None)
            } else {
                Err(error)
            };
        }
        Ok(Some(Mapping {
            start: query.vma_start as usize,
            end: query.vma_end as usize,
            writable: query.vma_flags & WRITABLE != 0,
            shared: query.vma_flags & SHARED != 0,
            page_bytes: query.vma_page_size as usize,
            device: (query.dev_major, query.dev_minor),
            inode: query.inode,
        }))
    }
}
