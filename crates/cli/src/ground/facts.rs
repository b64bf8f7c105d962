//! What the system says of itself: kernel, limits, filesystem, and what an io_uring error means.
//!
//! Asks only, with calls that change nothing. Knows nothing of measuring or of how the answers are
//! shown.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxFlags};
use rustix::process::Resource;

/// The running kernel's release, as uname(2) gives it.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// What is known of `kernel.io_uring_disabled` (sysctl, Linux 6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// 0 allowed, 1 only for a group and for CAP_SYS_ADMIN, 2 forbidden.
    Set(u32),
    /// This kernel has no such switch.
    None,
    /// It could not be read, and why.
    Unknown(String),
}

/// The state of `kernel.io_uring_disabled`.
pub(crate) fn io_uring_disabled() -> Switch {
    const SWITCHES: &str = "/proc/sys/kernel";
    let path = format!("{SWITCHES}/io_uring_disabled");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(mode) => Switch::Set(mode),
            Err(_) => Switch::Unknown(format!("{path} says `{}`", text.trim())),
        },
        // Every kernel has this one: the directory is the real one, and whole.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && fs::exists(format!("{SWITCHES}/ostype")).unwrap_or(false) =>
        {
            Switch::None
        }
        Err(error) => Switch::Unknown(format!("{path}: {error}")),
    }
}

/// Whether a seccomp filter sees this process's system calls (proc_pid_status(5)); None where /proc
/// does not tell.
fn has_seccomp_filter() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    Some(line.trim() != "0")
}

/// Why io_uring_setup said EPERM, as far as the system tells, and what to do.
fn who_forbids_io_uring(switch: &Switch, filter: Option<bool>) -> String {
    let seccomp = "by a seccomp filter; allow io_uring_setup, _enter and _register in the \
                   container's profile";
    match (switch, filter) {
        // It comes first: the filter sees the call, the switch is looked at inside of it. Yet a
        // switch at 2 forbids whatever the filter does.
        (Switch::Set(2), _) => "by kernel.io_uring_disabled=2; set it to 0 (sysctl)".into(),
        (Switch::Set(mode @ 1..), Some(false)) => format!(
            "by kernel.io_uring_disabled={mode}; set it to 0 (sysctl), or join the group in \
             kernel.io_uring_group"
        ),
        (Switch::Set(0) | Switch::None, Some(true)) => seccomp.into(),
        (Switch::Set(mode), Some(true)) => {
            format!("by kernel.io_uring_disabled={mode}, or {seccomp}")
        }
        (Switch::Set(0) | Switch::None, Some(false)) => {
            "neither by a seccomp filter nor by kernel.io_uring_disabled: by a security module?"
                .into()
        }
        (switch, filter) => {
            let mut unknown = Vec::new();
            if let Switch::Unknown(why) = switch {
                unknown.push(why.clone());
            }
            if filter.is_none() {
                unknown.push("/proc/self/status tells nothing of seccomp".into());
            }
            format!("by whom could not be found out ({})", unknown.join("; "))
        }
    }
}

/// The soft limit of locked memory in bytes; None is no limit (getrlimit(2), RLIMIT_MEMLOCK).
pub(crate) fn memlock_bytes() -> Option<u64> {
    rustix::process::getrlimit(Resource::Memlock).current
}

/// What an error of io_uring_setup(2) or of a registration means, and what to do about it.
pub(crate) fn explain_ring_error(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "ENOSYS: this kernel has no io_uring (before Linux 5.1, built \
                               without it, or hidden by a sandbox)"
            .into(),
        Some(libc::EPERM) => format!(
            "EPERM: io_uring is forbidden here {}",
            who_forbids_io_uring(&io_uring_disabled(), has_seccomp_filter())
        ),
        Some(libc::EACCES) => "EACCES: io_uring is forbidden here by a security module".into(),
        Some(libc::ENOMEM) => {
            "ENOMEM: no memory, or over RLIMIT_MEMLOCK; raise it (ulimit -l)".into()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "EMFILE: no file descriptor left; raise the limit (ulimit -n)".into()
        }
        _ => error.to_string(),
    }
}

/// The filesystem that an open file lies on.
///
/// By mount id in /proc/self/mountinfo, which knows ext3 from ext4 and names FUSE filesystems; by
/// statfs(2)'s magic number where that is not possible (before Linux 5.8, or without /proc).
pub(crate) fn filesystem(file: impl AsFd) -> String {
    let magic = rustix::fs::fstatfs(&file).map(|s| s.f_type as u64 & 0xffff_ffff);
    mounted_as(file.as_fd()).unwrap_or_else(|| match magic {
        Ok(magic) => {
            magic_name(magic).map_or_else(|| format!("unknown (magic {magic:#x})"), str::to_owned)
        }
        Err(_) => "unknown".into(),
    })
}

fn mounted_as(file: impl AsFd) -> Option<String> {
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return None;
    }
    type_in_mountinfo(
        &fs::read_to_string("/proc/self/mountinfo").ok()?,
        found.stx_mnt_id,
    )
}

/// The filesystem type in proc_pid_mountinfo(5): the first field after the lone `-`.
fn type_in_mountinfo(mountinfo: &str, id: u64) -> Option<String> {
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').next().and_then(|n| n.parse().ok()) == Some(id))?;
    let (_, after) = line.split_once(" - ")?;
    after
        .split(' ')
        .next()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// Names for the magic numbers of statfs(2).
fn magic_name(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0xef53 => "ext2, ext3 or ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0xf2f5_2010 => "f2fs",
        0x0116_1970 => "gfs2",
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb3",
        0x6573_5546 => "fuse",
        0x2fc1_2fc1 => "zfs",
        0xca45_1a4e => "bcachefs",
        0x0102_1997 => "9p",
        0x4d44 => "vfat",
        0x2011_bab0 => "exfat",
        0x7366_746e => "ntfs3",
        0x8584_58f6 => "ramfs",
        0x7371_7368 => "squashfs",
        0x00c3_6400 => "ceph",
        0x7461_636f => "ocfs2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_found_by_mount_id_whatever_the_optional_fields_are() {
        let text = "21 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
                    210 21 0:40 / /mnt/a\\040b rw - fuse.sshfs me@host:/ rw\n\
                    30 21 0:41 / /broken rw\n";
        assert_eq!(type_in_mountinfo(text, 21).as_deref(), Some("ext4"));
        assert_eq!(type_in_mountinfo(text, 210).as_deref(), Some("fuse.sshfs"));
        assert_eq!(type_in_mountinfo(text, 30), None);
        assert_eq!(type_in_mountinfo(text, 2), None);
    }

    #[test]
    fn every_reason_why_there_is_no_ring_says_what_to_do() {
        for (errno, word) in [
            (libc::ENOSYS, "kernel"),
            (libc::EPERM, "io_uring"),
            (libc::ENOMEM, "ulimit -l"),
            (libc::EMFILE, "ulimit -n"),
        ] {
            let line = explain_ring_error(&io::Error::from_raw_os_error(errno));
            assert!(line.starts_with('E') && line.contains(word), "{line}");
        }
    }

    #[test]
    fn who_forbids_io_uring_is_known_where_the_system_tells() {
        let unknown = Switch::Unknown("why".into());
        for (switch, filter, said, not_said) in [
            (&Switch::Set(2), Some(true), "disabled=2", "seccomp"),
            (&Switch::Set(1), Some(false), "disabled=1", "seccomp"),
            (&Switch::Set(0), Some(true), "seccomp", "disabled"),
            (&Switch::None, Some(true), "seccomp", "disabled"),
            (&Switch::None, Some(false), "security module", "profile"),
            (&unknown, Some(false), "why", "profile"),
            (&Switch::None, None, "/proc/self/status", "profile"),
        ] {
            let line = who_forbids_io_uring(switch, filter);
            assert!(
                line.contains(said) && !line.contains(not_said),
                "{switch:?}, {filter:?}: {line}"
            );
        }
    }

    #[test]
    fn the_root_filesystem_has_a_name() {
        let root = fs::File::open("/").expect("the root directory opens");
        assert_ne!(filesystem(&root), "unknown");
    }
}
