//! Files that a run made and could not remove, because it was killed (SIGKILL, a crash of the
//! system): the next run knows them as its own and makes them anew.
//!
//! A file that is made here carries an extended attribute with what nothing else has: its inode, its
//! time of birth and its name. So neither a copy nor a renamed file is taken for ours. While a run
//! uses it, the file is locked (flock(2)), and the kernel drops that lock with the process. Where
//! the filesystem has no such attributes or no time of birth, nothing is known as ours.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{FlockOperation, XattrFlags};

const ATTRIBUTE: &str = "user.nofault.run";

/// Marks a file that was just made at this path.
pub(super) fn mark(file: &File, path: &Path) {
    // Another run could not have it yet.
    let _ = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    if let Ok(Some(value)) = identity(file, path) {
        // Without attributes the file is left alone where this run is killed.
        let _ = rustix::fs::fsetxattr(file, ATTRIBUTE, value.as_bytes(), XattrFlags::empty());
    }
}

/// Whether the file at this path was made by a run that is no more. The error is a line for the
/// user: another run uses the file.
pub(super) fn is_ours(path: &Path) -> Result<bool, String> {
    let Ok(file) = File::open(path) else {
        return Ok(false);
    };
    let mut value = [0; 512];
    let Ok(len) = rustix::fs::fgetxattr(&file, ATTRIBUTE, &mut value[..]) else {
        return Ok(false);
    };
    let Ok(Some(own)) = identity(&file, path) else {
        return Ok(false);
    };
    if value.get(..len) != Some(own.as_bytes()) {
        return Ok(false);
    }
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "{} is used by another run of nofault; name another directory with --dir",
            path.display()
        )),
        Err(_) => Ok(false),
    }
}

/// What no other file has; None where the filesystem does not tell when a file was made.
fn identity(file: &File, path: &Path) -> io::Result<Option<String>> {
    let found = file.metadata()?;
    let Ok(born) = found.created() else {
        return Ok(None);
    };
    let born = born.duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = format!("{} {} {name}", found.ino(), born.as_nanos());
    Ok(Some(text).filter(|text| text.len() <= 512))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_marked_file_itself_is_ours_and_only_when_its_run_is_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("made");
        let file = File::create_new(&place).expect("made");
        assert_eq!(is_ours(&place), Ok(false));
        mark(&file, &place);
        if rustix::fs::fgetxattr(&file, ATTRIBUTE, &mut [0; 512][..]).is_err() {
            println!("SKIP: this filesystem has no extended attributes of users");
            return;
        }
        let line = is_ours(&place).expect_err("it is in use");
        assert!(line.contains("another run"), "{line}");
        drop(file);
        assert_eq!(is_ours(&place), Ok(true));
        // Neither a copy with all attributes nor the same file by another name.
        let copy = dir.path().join("copy");
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([&place, &copy])
            .status();
        assert!(copied.expect("cp starts").success());
        assert_eq!(is_ours(&copy), Ok(false));
        let renamed = dir.path().join("renamed");
        fs::rename(&place, &renamed).expect("renamed");
        assert_eq!(is_ours(&renamed), Ok(false));
        assert_eq!(is_ours(&place), Ok(false));
    }
}
