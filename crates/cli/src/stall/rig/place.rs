//! Where the cold requests read from: a file on another device than the warm one, so that what is
//! seen is the submission and not the disk's queue.
//!
//! The best is an ext4 of its own on a loop device over memory, which takes root and mkfs.ext4. It
//! is mounted nowhere, and device and filesystem go when the last descriptor is closed, so that not
//! even SIGKILL leaves anything behind. (Not the loop device itself: of a direct read from a block
//! device io_uring submits only the first 1 MiB on the spot. And not a tmpfs: reads from it always
//! go to io_uring's workers. In both cases a bare ring would look better than it is on any other
//! file.)

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::faults::pattern;

const MIB: usize = 1 << 20;

/// A file with data in every block and without a name.
pub(crate) struct ColdFile {
    file: File,
    path: PathBuf,
    pub(crate) bytes: usize,
    /// Where it is, in words.
    pub(crate) place: String,
    /// What has to be known to read the figures.
    pub(crate) caution: Option<String>,
}

impl ColdFile {
    /// In `dir` if one is named, else on a device of its own if there can be one, else in
    /// `otherwise`, where the warm file is. The error is the whole line for the user.
    pub(crate) fn new(
        dir: Option<&Path>,
        otherwise: &Path,
        bytes: usize,
    ) -> Result<ColdFile, String> {
        if let Some(dir) = dir {
            let mut file = ColdFile::in_dir(dir, bytes)?;
            if let (Ok(cold), Ok(warm)) = (device(dir), device(otherwise))
                && cold == warm
            {
                file.caution = Some(same_device(None));
            }
            return Ok(file);
        }
        match on_loop(bytes) {
            Ok(file) => {
                ColdFile::filled(file, bytes, "ext4 on a loop device over memory".to_owned())
                    .map_err(|e| format!("cannot fill the cold file: {e}"))
            }
            Err(why) => {
                let mut file = ColdFile::in_dir(otherwise, bytes)?;
                file.caution = Some(same_device(Some(&why)));
                Ok(file)
            }
        }
    }

    fn in_dir(dir: &Path, bytes: usize) -> Result<ColdFile, String> {
        let file = tempfile::tempfile_in(dir)
            .and_then(|file| ColdFile::filled(file, bytes, dir.display().to_string()));
        let mut file = file.map_err(|e| {
            format!(
                "cannot make the cold file in {}: {e}; name another directory with --cold-dir",
                dir.display()
            )
        })?;
        if rustix::fs::fstatfs(&file.file).is_ok_and(|found| found.f_type == libc::TMPFS_MAGIC) {
            file.caution = Some(
                "The cold file is on a tmpfs, whose reads io_uring always hands to its workers: a bare ring stalls less here than on any disk."
                    .to_owned(),
            );
        }
        Ok(file)
    }

    fn filled(file: File, bytes: usize, place: String) -> io::Result<ColdFile> {
        let bytes = bytes.next_multiple_of(MIB);
        for start in (0..bytes).step_by(MIB) {
            (&file).write_all(&pattern::bytes(3, start, MIB))?;
        }
        file.sync_all()?;
        // Advice, which a tmpfs has no use for.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(ColdFile {
            file,
            path,
            bytes,
            place,
            caution: None,
        })
    }

    /// Where to open it, for as long as this value lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// For direct reads, or through the page cache where the filesystem refuses those.
    pub(crate) fn open(&self) -> io::Result<File> {
        open_direct(&self.path)
    }
}

/// For direct reads, or through the page cache where the filesystem refuses those.
pub(crate) fn open_direct(path: &Path) -> io::Result<File> {
    let direct = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path);
    match direct {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => File::open(path),
        other => other,
    }
}

fn device(dir: &Path) -> io::Result<u64> {
    Ok(std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(
        dir,
    )?))
}

fn same_device(why: Option<&str>) -> String {
    let why = why
        .map(|why| format!(" There is no device of its own: {why}."))
        .unwrap_or_default();
    format!(
        "The cold file is on the same device as the warm one: warm reads wait in the device's queue behind the cold ones, in every \
         column, and the ratios show that too. Name a directory on another disk with --cold-dir.{why}"
    )
}

// include/uapi/linux/loop.h
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
const LOOP_CONFIGURE: u32 = 0x4c0a;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// As the kernel has it: `info` is a `struct loop_info64`, of which only the flags are set.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

#[repr(C)]
struct LoopInfo {
    numbers: [u64; 5],
    number_and_encryption: [u32; 3],
    flags: u32,
    names_and_keys: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 8 + 232 + 64);

/// Another process may take the free device first.
const LOOP_TRIES: usize = 8;

/// A new file in a new ext4 on a new loop device over memory. The error says what is missing.
fn on_loop(bytes: usize) -> Result<File, String> {
    let memory = rustix::fs::memfd_create("nofault-cold", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|e| format!("memfd_create: {e}"))?;
    // The filesystem's own data is far less than half.
    rustix::fs::ftruncate(&memory, 2 * bytes.max(8 * MIB) as u64)
        .map_err(|e| format!("a memfd: {e}"))?;
    let device = loop_device(&memory)?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", device.as_raw_fd()))
        .map_err(|e| format!("the loop device's name: {e}"))?;
    make_ext4(&name)?;
    let step = |what: &'static str| {
        move |e: rustix::io::Errno| format!("{what} for a mount of its own: {}", io::Error::from(e))
    };
    let context =
        rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC).map_err(step("fsopen"))?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", &name)
        .map_err(step("fsconfig"))?;
    rustix::mount::fsconfig_create(context.as_fd()).map_err(step("fsconfig"))?;
    let mount = rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOATIME,
    )
    .map_err(step("fsmount"))?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(&mount, ".", flags, Mode::RUSR | Mode::WUSR).map_err(step("a file"))?;
    Ok(file.into())
}

/// A loop device over this file. It is free again when nobody has it open or mounted any more.
fn loop_device(over: &OwnedFd) -> Result<File, String> {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control");
    let control = control.map_err(|e| format!("/dev/loop-control: {e}; it takes root"))?;
    for _ in 0..LOOP_TRIES {
        // SAFETY: a request without an argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            return Err(format!(
                "no free loop device: {}",
                io::Error::last_os_error()
            ));
        }
        let path = format!("/dev/loop{number}");
        let device = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| format!("{path}: {e}"))?;
        let is_device = device
            .metadata()
            .is_ok_and(|metadata| metadata.file_type().is_block_device());
        if !is_device {
            return Err(format!("{path} is no device"));
        }
        // SAFETY: all zeros is a value of these plain numbers.
        let mut config: LoopConfig = unsafe { std::mem::zeroed() };
        config.fd = over.as_raw_fd() as u32;
        config.info.flags = LO_FLAGS_AUTOCLEAR;
        // SAFETY: the request reads one `struct loop_config`, which lives for the call.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) } == 0 {
            return Ok(device);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(format!("{path} cannot be set up: {error}"));
        }
    }
    Err("each free loop device was taken by somebody else".to_owned())
}

fn make_ext4(device: &Path) -> Result<(), String> {
    let run = |program: &str| {
        // No journal: nobody recovers it. All tables now: no kernel thread writes them meanwhile.
        let options = [
            "-q",
            "-F",
            "-O",
            "^has_journal",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0",
        ];
        Command::new(program)
            .args(options)
            .arg(device)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
    };
    // Where a user's PATH does not lead.
    let mut made = run("mkfs.ext4");
    for place in ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"] {
        if made
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            made = run(place);
        }
    }
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "mkfs.ext4: {}",
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .replace('\n', " ")
        )),
        Err(error) => Err(format!("mkfs.ext4: {error}")),
    }
}
