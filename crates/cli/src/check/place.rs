//! The private directory in DIR, and that it goes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long removing may take where a cell's process is stuck: its locks may be held for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// A directory of our own in the directory that is checked.
pub(super) struct Place {
    /// What the user named.
    pub(super) dir: PathBuf,
    /// What is mounted there.
    pub(super) filesystem: String,
    own: Option<tempfile::TempDir>,
    cells: usize,
    /// A process is stuck in it: removing might not return.
    stuck: bool,
}

impl Place {
    /// The error is a line for the user.
    pub(super) fn new(dir: &Path) -> Result<Place, String> {
        let shown = dir.display();
        match fs::metadata(dir) {
            Err(error) => {
                return Err(format!(
                    "{shown} cannot be used: {error}; name an existing directory"
                ));
            }
            Ok(metadata) if !metadata.is_dir() => {
                return Err(format!("{shown} is not a directory"));
            }
            Ok(_) => {}
        }
        let make = || {
            tempfile::Builder::new()
                .prefix(".nofault-check-")
                .tempdir_in(dir)
        };
        let own = make().map_err(|error| {
            format!("{shown} cannot be written: {error}; name a directory that you may write to")
        })?;
        Ok(Place {
            dir: dir.to_owned(),
            filesystem: filesystem(dir),
            own: Some(own),
            cells: 0,
            stuck: false,
        })
    }

    /// A new directory for one cell.
    pub(super) fn cell(&mut self) -> Result<PathBuf, String> {
        let Some(own) = &self.own else {
            return Err("the directory is gone already".to_owned());
        };
        self.cells += 1;
        let dir = own.path().join(self.cells.to_string());
        fs::create_dir(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        Ok(dir)
    }

    /// Removes it again.
    pub(super) fn cell_ended(&mut self, dir: &Path, left_behind: bool) {
        self.stuck |= left_behind;
        if self.stuck {
            remove_from_outside(dir);
        } else {
            // What can't be removed now is tried again with the whole.
            let _ = fs::remove_dir_all(dir);
        }
    }

    /// Removes all of it, and says so where that can't be done.
    pub(super) fn remove(&mut self) {
        let Some(own) = self.own.take() else { return };
        let path = own.path().to_owned();
        let removed = if self.stuck {
            remove_from_outside(&own.keep())
        } else {
            own.close().is_ok()
        };
        if !removed {
            eprintln!(
                "nofault: {} is left behind: something in it cannot be removed now",
                path.display()
            );
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
    }
}

/// By a process that may get stuck in our stead.
fn remove_from_outside(path: &Path) -> bool {
    let quiet = |command: &mut Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    let Ok(mut child) = quiet(Command::new("rm").arg("-rf").arg("--").arg(path)) else {
        return false;
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            _ => return false,
        }
    }
}

/// The type of the filesystem, by the longest mount point that holds the directory.
fn filesystem(dir: &Path) -> String {
    let unknown = || "unknown filesystem".to_owned();
    let (Ok(dir), Ok(mounts)) = (dir.canonicalize(), fs::read_to_string("/proc/self/mounts"))
    else {
        return unknown();
    };
    let entry = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (
            words.next()?.replace("\\040", " "),
            words.next()?.to_owned(),
        );
        dir.starts_with(&point).then_some((point.len(), kind))
    };
    // Of several on one point the last one covers the others.
    mounts
        .lines()
        .filter_map(entry)
        .max_by_key(|(len, _)| *len)
        .map_or_else(unknown, |(_, kind)| kind)
}
