//! The files that are measured on: one in the directory that the user names, one on a loop device
//! over tmpfs.
//!
//! Nothing is left behind, whatever ends the program. The files have no name: the children inherit
//! the descriptor and open it again through /proc/self/fd. The mounts are made in a mount namespace
//! of our own, which the kernel takes apart when the last process in it is gone, and with it the
//! loop device. Only the empty directory below the mounts stays after SIGKILL.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::Advice;
use rustix::io::FdFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use tempfile::TempDir;

use crate::job;
use crate::options::PlaceName;

/// A file full of [`job::content`], and what it lies on.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// For the heading.
    pub(crate) about: String,
    /// Where the children open it.
    pub(crate) path: PathBuf,
    // The file is closed before what it lies on goes.
    _file: File,
    _mounts: Option<Mounts>,
}

impl Place {
    /// The error says why there is no such place here.
    pub(crate) fn new(name: PlaceName, dir: &Path, bytes: u64) -> io::Result<Place> {
        match name {
            PlaceName::Disk => {
                let (file, path) = fill(dir, bytes)?;
                let about = format!("{} in {}", filesystem(&file), dir.canonicalize()?.display());
                Ok(Place {
                    name: "disk",
                    about,
                    path,
                    _file: file,
                    _mounts: None,
                })
            }
            PlaceName::Loop => {
                let mounts = Mounts::new(bytes)?;
                let (file, path) = fill(&mounts.ext4(), bytes)?;
                let about = format!("{} on a loop device over tmpfs", filesystem(&file));
                Ok(Place {
                    name: "loop",
                    about,
                    path,
                    _file: file,
                    _mounts: Some(mounts),
                })
            }
        }
    }
}

/// A file without a name, of so many bytes, with none of them in the page cache.
fn fill(dir: &Path, bytes: u64) -> io::Result<(File, PathBuf)> {
    let in_dir = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!(
                "no file of {} MiB in {}: {error}",
                bytes >> 20,
                dir.display()
            ),
        )
    };
    let mut file = tempfile::tempfile_in(dir).map_err(in_dir)?;
    let mut piece = vec![0; 1 << 20];
    for start in (0..bytes).step_by(piece.len()) {
        for (word, offset) in piece.chunks_exact_mut(8).zip((start..).step_by(8)) {
            word.copy_from_slice(&job::content(offset).to_ne_bytes());
        }
        file.write_all(&piece).map_err(in_dir)?;
    }
    file.sync_all().map_err(in_dir)?;
    // What is cached would have to be thrown out by the first direct writes. A filesystem that
    // keeps it all the same is no reason to stop.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let direct = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path);
    direct.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "no direct I/O on {} in {}: {error}",
                filesystem(&file),
                dir.display()
            ),
        )
    })?;
    Ok((file, path))
}

/// The type of the filesystem, as far as it is one of the usual.
fn filesystem(file: &File) -> String {
    match rustix::fs::fstatfs(file).map(|stat| stat.f_type as u32) {
        Ok(0xef53) => "ext4".to_owned(),
        Ok(0x5846_5342) => "xfs".to_owned(),
        Ok(0x9123_683e) => "btrfs".to_owned(),
        Ok(0x0102_1994) => "tmpfs".to_owned(),
        Ok(0x794c_7630) => "overlayfs".to_owned(),
        Ok(other) => format!("filesystem {other:#x}"),
        Err(_) => "unknown filesystem".to_owned(),
    }
}

/// A tmpfs, in it an image, on that a loop device, on that an ext4.
struct Mounts {
    dir: TempDir,
    mounted: Vec<PathBuf>,
}

impl Mounts {
    fn new(bytes: u64) -> io::Result<Mounts> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "needs root, for the mounts",
            ));
        }
        private_namespace().map_err(failed("no mount namespace of our own"))?;
        let mut mounts = Mounts {
            dir: tempfile::Builder::new()
                .prefix("nofault-peers-")
                .tempdir()?,
            mounted: Vec::new(),
        };
        let memory = mounts.dir.path().to_owned();
        // The filesystem itself needs some room, its journal above all.
        let image_bytes = bytes + bytes / 8 + (64 << 20);
        let size = std::ffi::CString::new(format!("size={}", image_bytes + (16 << 20)))?;
        rustix::mount::mount(
            "nofault-peers",
            &memory,
            "tmpfs",
            MountFlags::empty(),
            Some(size.as_c_str()),
        )
        .map_err(failed("mount tmpfs"))?;
        mounts.mounted.push(memory.clone());
        let (image, ext4) = (memory.join("image"), mounts.ext4());
        File::create(&image)?.set_len(image_bytes)?;
        std::fs::create_dir(&ext4)?;
        // Nothing is left to be initialised while we measure.
        call(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
                .arg(&image),
        )?;
        // mount makes the loop device, and umount takes it away.
        call(
            Command::new("mount")
                .args(["-t", "ext4", "-o", "loop"])
                .arg(&image)
                .arg(&ext4),
        )?;
        mounts.mounted.push(ext4);
        Ok(mounts)
    }

    fn ext4(&self) -> PathBuf {
        self.dir.path().join("ext4")
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            if rustix::mount::unmount(path, UnmountFlags::empty()).is_err() {
                // Still in use; it goes when that ends.
                let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
            }
        }
    }
}

/// Says what was tried.
fn failed(what: &str) -> impl Fn(rustix::io::Errno) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What is mounted from now on is seen by this process and its children only, and ends with them.
fn private_namespace() -> rustix::io::Result<()> {
    // SAFETY: only the mounts become our own; descriptors stay shared, which is what
    // `unshare_unsafe` warns of.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

/// Runs a program that has to succeed.
fn call(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Administrators' programs are not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .output();
    let output =
        output.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{name}: {}: {}",
        output.status,
        said.lines().next().unwrap_or("no message")
    )))
}
