//! `nofault run --overwrite` and what is in use: mounted, swapped to, below a loop device.
//!
//! Takes root, loop devices and the programs of util-linux and e2fsprogs; says what it skips.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{is_refused, plain, stderr};

/// Runs a program of the system; the error is what it said.
fn system(words: &[&str]) -> Result<String, String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", words[0]))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("{words:?}: {}", stderr(&output).trim()))
    }
}

/// A loop device over a file in a directory, and what has to be undone before it goes.
struct Loop {
    dir: tempfile::TempDir,
    device: String,
    undo: Vec<Vec<String>>,
}

impl Loop {
    /// None, and a line, where there can't be one.
    fn new(test: &str, more: &[&str]) -> Option<Loop> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let image = dir.path().join("image");
        let file = fs::File::create(&image).expect("made");
        file.set_len(16 << 20).expect("made longer");
        let words = ["losetup", "--find", "--show"];
        match system(&[&words[..], more, &[plain(&image)]].concat()) {
            Ok(device) => Some(Loop {
                dir,
                device,
                undo: Vec::new(),
            }),
            Err(reason) => {
                println!("SKIP {test}: no loop device: {reason}");
                None
            }
        }
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn undone_by(&mut self, words: &[&str]) {
        self.undo
            .push(words.iter().map(|&word| word.to_owned()).collect());
    }

    /// Makes a filesystem on a device, and mounts it.
    fn mount(&mut self, device: &str) {
        let point = self.dir.path().join("mnt");
        fs::create_dir(&point).expect("made");
        system(&["mkfs.ext4", "-q", "-F", device]).expect("a filesystem");
        system(&["mount", device, plain(&point)]).expect("mounted");
        self.undone_by(&["umount", plain(&point)]);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        for words in self.undo.iter().rev() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = system(&words);
        }
        let _ = system(&["losetup", "--detach", &self.device]);
    }
}

/// A job that writes to this, with leave.
fn write_to(path: &str, more: &str) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let job = dir.path().join("w.fio");
    let text = format!("[j]\nfilename={path}\nsize=1m\nrw=write\nbs=4k\n{more}");
    fs::write(&job, text).expect("written");
    common::run(&[
        "run",
        plain(&job),
        "--dir",
        plain(dir.path()),
        "--overwrite",
    ])
}

fn bytes(device: &str) -> Vec<u8> {
    fs::read(Path::new(device)).expect("read")
}

#[test]
fn a_mounted_device_is_not_written_to_and_one_that_is_free_is() {
    let Some(mut device) = Loop::new("a_mounted_device", &[]) else {
        return;
    };
    let path = device.device.clone();
    let free = write_to(&path, "");
    assert!(free.status.success(), "{}", stderr(&free));
    device.mount(&path);
    let before = bytes(&path);
    let refused = write_to(&path, "");
    let line = is_refused(&refused);
    assert!(
        line.contains(&path) && line.contains("mounted on") && line.contains("/mnt"),
        "{line}"
    );
    assert!(bytes(&path)[..1 << 20] == before[..1 << 20]);
    // fio's own word for it.
    let allowed = write_to(&path, "allow_mounted_write=1\n");
    assert!(allowed.status.success(), "{}", stderr(&allowed));
    assert!(is_refused(&write_to(&path, "allow_mounted_write=0\n")).contains("mounted"));
}

#[test]
fn the_disk_of_a_mounted_partition_is_not_written_to() {
    let Some(mut device) = Loop::new("a_mounted_partition", &["--partscan"]) else {
        return;
    };
    let path = device.device.clone();
    let table = device.dir.path().join("table");
    fs::write(&table, "label: dos\n2048,,L\n").expect("written");
    let made = Command::new("sfdisk")
        .args(["--quiet", &path])
        .stdin(fs::File::open(&table).expect("opened"))
        .output();
    let partition = format!("{path}p1");
    // The node of the partition comes from devtmpfs.
    if !made.is_ok_and(|output| output.status.success()) || !Path::new(&partition).exists() {
        println!("SKIP a_mounted_partition: no sfdisk, or no partitions of loop devices");
        return;
    }
    device.mount(&partition);
    let refused = write_to(&path, "");
    let line = is_refused(&refused);
    assert!(line.contains("mounted on"), "{line}");
    assert!(is_refused(&write_to(&partition, "")).contains("mounted on"));
}

#[test]
fn what_lies_below_a_loop_device_is_not_written_to() {
    let Some(device) = Loop::new("below_a_loop_device", &[]) else {
        return;
    };
    let image = device.image();
    let refused = write_to(plain(&image), "");
    assert!(is_refused(&refused).contains(&device.device));
    // A loop device over the loop device.
    let upper = match system(&["losetup", "--find", "--show", &device.device]) {
        Ok(upper) => upper,
        Err(reason) => {
            println!("SKIP below_a_loop_device: none over another: {reason}");
            return;
        }
    };
    let refused = write_to(&device.device, "");
    let line = is_refused(&refused).to_owned();
    system(&["losetup", "--detach", &upper]).expect("detached");
    assert!(line.contains(&upper), "{line}");
}

#[test]
fn what_the_system_swaps_to_is_not_written_to() {
    let Some(mut device) = Loop::new("swap", &[]) else {
        return;
    };
    let path = device.device.clone();
    let on = system(&["mkswap", &path]).and_then(|_| system(&["swapon", &path]));
    if let Err(reason) = on {
        println!("SKIP swap: no swap here: {reason}");
        return;
    }
    device.undone_by(&["swapoff", &path]);
    let refused = write_to(&path, "");
    assert!(is_refused(&refused).contains("swaps to it"));
}
