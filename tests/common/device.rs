//! Block devices and mounts of the test's own: loop devices over image files, which only root can
//! make.

use super::files;
use super::sys;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program and gives what it printed, or what went wrong.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// A mount that goes away with the value.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// The sector sizes that devices are made with, in bytes.
pub(crate) const SECTORS: [u32; 2] = [512, 4096];

/// A loop device that goes away with the value.
pub(crate) struct Loop(String);

impl Loop {
    /// A device of `bytes` bytes, full of the seed's pattern, over an image at `image`.
    pub(crate) fn new(image: &Path, bytes: usize, seed: u64, sector: u32) -> Result<Loop, String> {
        if sys::is_root() {
            files::make_patterned(image, bytes, seed);
        }
        Loop::over(image, sector)
    }

    /// A device over an image that is there.
    pub(crate) fn over(image: &Path, sector: u32) -> Result<Loop, String> {
        if !sys::is_root() {
            return Err("only root can make a loop device".to_owned());
        }
        run(Command::new("losetup")
            .args(["--find", "--show", "--sector-size", &sector.to_string()])
            .arg(image))
        .map(Loop)
    }

    /// The device's node.
    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Opens the device for reading and writing, buffered.
    pub(crate) fn open(&self) -> std::fs::File {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(&self.0)
            .unwrap_or_else(|error| panic!("{}: {error}", self.0))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).output();
    }
}
