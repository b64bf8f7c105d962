//! What must not be written to even with leave: block devices and files that the system itself
//! uses at this moment. Asks only, but for [`hold`], which keeps a device from being mounted.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The option of fio's that gives leave to write to a device that is in use.
pub(super) const ALLOWED_BY: &str = "allow_mounted_write";

/// Claims a block device for this process as mount(8) does, until the file is closed. A device
/// that is mounted, swapped to, or part of another one is refused, and so is the disk of a
/// partition that is (open(2): O_EXCL without O_CREAT on a block device).
///
/// The error is a line for the user.
pub(super) fn hold(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
        .open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::EBUSY) => refusal(path, &why_busy(path)),
        _ => format!("cannot open {} to write to it: {error}", path.display()),
    })
}

/// Sees that no loop device and no swap uses this file or device, which no exclusive opening tells.
/// The error is a line for the user.
pub(super) fn is_free(path: &Path) -> Result<(), String> {
    let found =
        fs::metadata(path).map_err(|e| format!("cannot look at {}: {e}", path.display()))?;
    let same = |other: &Path| fs::metadata(other).is_ok_and(|other| is_same(&found, &other));
    for (name, backing) in loop_devices() {
        if same(&backing) {
            return Err(refusal(path, &format!("it backs /dev/{name}")));
        }
    }
    if swaps().iter().any(|swap| same(swap)) {
        return Err(refusal(path, "the system swaps to it"));
    }
    Ok(())
}

fn refusal(path: &Path, why: &str) -> String {
    format!(
        "{} is in use: {why}; release it first, or let the job say {ALLOWED_BY}=1",
        path.display()
    )
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    let device = |found: &Metadata| found.file_type().is_block_device();
    match (device(a), device(b)) {
        (true, true) => a.rdev() == b.rdev(),
        (false, false) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// The loop devices with what lies below each.
fn loop_devices() -> Vec<(String, PathBuf)> {
    let all = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, PathBuf::from(file.trim_end())))
    })
    .collect()
}

/// What the system swaps to (proc_swaps(5)).
fn swaps() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| PathBuf::from(name.replace("\\040", " ")))
        .collect()
}

/// Who has a device, as far as the system tells.
fn why_busy(path: &Path) -> String {
    let unknown = || "it is mounted, or part of another device".to_owned();
    let Ok(found) = fs::metadata(path) else {
        return unknown();
    };
    let number = |rdev| (libc::major(rdev), libc::minor(rdev));
    let (major, minor) = number(found.rdev());
    let sys = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let mut devices = vec![format!("{major}:{minor}")];
    // The partitions of a disk are folders below it.
    for entry in fs::read_dir(&sys).into_iter().flatten().flatten() {
        if let Ok(partition) = fs::read_to_string(entry.path().join("dev")) {
            devices.push(partition.trim().to_owned());
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(2);
        let device = words.next()?;
        let point = words.nth(1)?;
        devices
            .iter()
            .any(|own| own == device)
            .then(|| point.replace("\\040", " "))
    });
    if let Some(point) = mounted {
        return format!("it is mounted on {point}");
    }
    if swaps()
        .iter()
        .any(|swap| fs::metadata(swap).is_ok_and(|swap| is_same(&found, &swap)))
    {
        return "the system swaps to it".to_owned();
    }
    let holder = fs::read_dir(sys.join("holders"))
        .ok()
        .and_then(|mut all| all.next()?.ok());
    match holder {
        Some(holder) => format!("it is part of {}", holder.file_name().to_string_lossy()),
        None => unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_is_free() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(is_free(file.path()), Ok(()));
    }

    #[test]
    fn a_file_is_the_same_by_whatever_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "x").expect("written");
        fs::hard_link(&a, &b).expect("linked");
        let of = |path: &Path| fs::metadata(path).expect("there");
        assert!(is_same(&of(&a), &of(&b)));
        assert!(!is_same(&of(&a), &of(dir.path())));
    }
}
