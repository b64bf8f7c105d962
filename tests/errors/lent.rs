//! A descriptor that is handed over may share its open file, its position and the inode's locks
//! with others: none of these changes.

use super::{ours, theirs};
use crate::common::child::{self, watched};
use crate::common::device::{Loop, Mounted, SECTORS, run};
use crate::common::mapping::{Mapping, patterned};
use crate::common::setup::{self, DEADLINE};
use crate::common::sys::{self, fd_of};
use crate::common::{files, skip};
use nofault::{File, IoPath, OpenOptions, Policy};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

const LEN: usize = 1 << 20;

/// What others share with a descriptor.
#[derive(Debug, PartialEq)]
struct Shared {
    flags: i32,
    position: u64,
    locked: bool,
}

/// A lock of this process on the whole file (fcntl F_SETLK): closing any descriptor of the inode
/// releases it.
fn lock(file: &std::fs::File) {
    let result = sys::record_lock(fd_of(file), libc::F_SETLK);
    assert_eq!(result, Ok(libc::F_WRLCK as i16), "F_SETLK");
}

/// Whether anybody but this open file holds a record lock, as F_OFD_GETLK tells: the process's own
/// locks belong to the process, so they count.
fn locked(file: &std::fs::File) -> bool {
    sys::record_lock(fd_of(file), libc::F_OFD_GETLK) == Ok(libc::F_WRLCK as i16)
}

fn shared(mut file: &std::fs::File) -> Shared {
    Shared {
        flags: sys::status_flags(fd_of(file)),
        position: file.stream_position().unwrap(),
        locked: locked(file),
    }
}

/// Hands a duplicate over and asks for its size, and makes a few requests. What the original shares
/// with it stays as it was until the file is dropped.
fn nothing_changes(what: &str, path: &Path, flags: i32, bytes: u64) {
    let mine = match sys::open(path, libc::O_RDWR | flags) {
        Ok(mine) => mine,
        Err(error) => return crate::common::note_skip(what, &format!("O_DIRECT: {error}")),
    };
    nothing_changes_of(what, mine, bytes);
}

fn nothing_changes_of(what: &str, mut mine: std::fs::File, bytes: u64) {
    lock(&mine);
    mine.seek(SeekFrom::Start(4096)).unwrap();
    for backend in setup::backends() {
        let engine = setup::engine(backend);
        let before = shared(&mine);
        assert!(before.locked, "{what}: the lock was never there");
        let file = File::from_std(&engine, mine.try_clone().unwrap()).unwrap();
        let how = format!("{what}, {}", file.path());
        assert_eq!(shared(&mine), before, "{how}: after from_std");
        assert_eq!(file.len().unwrap(), bytes, "{how}");
        assert_eq!(shared(&mine), before, "{how}: after len");
        let memory = Mapping::anon(65536);
        memory.fill(0..65536, 1);
        for (offset, len) in [(0, 65536), (100, 5000), (bytes, 4096), (u64::MAX, 1)] {
            for write in [false, true] {
                // What these answer is for other tests.
                let seg = (memory.address(), len);
                let _ = ours(&engine, &file, write, seg, offset, Policy::Look);
            }
        }
        engine.block_on(file.sync_all()).unwrap();
        assert_eq!(shared(&mine), before, "{how}: after requests");
        // Dropped, its descriptors would be closed, which costs the lock. That is what the docs say.
        std::mem::forget(file);
        // The requests may have made it longer.
        let _ = mine.set_len(bytes);
    }
}

#[test]
fn a_file_that_is_handed_over_keeps_what_it_shares() {
    let folder = files::folder();
    for flags in [
        0,
        libc::O_DIRECT,
        libc::O_APPEND,
        libc::O_APPEND | libc::O_DIRECT,
    ] {
        let path = folder.path().join(format!("{flags:o}"));
        files::make_patterned(&path, LEN, 1);
        nothing_changes(
            &format!("a file, flags {flags:o}"),
            &path,
            flags,
            LEN as u64,
        );
    }
    if let Ok(folder) = files::folder_in(Path::new("/dev/shm")) {
        for flags in [0, libc::O_DIRECT] {
            let path = folder.path().join(format!("{flags:o}"));
            files::make_patterned(&path, LEN, 1);
            nothing_changes(&format!("tmpfs, flags {flags:o}"), &path, flags, LEN as u64);
        }
    }
}

#[test]
fn a_device_that_is_handed_over_keeps_what_it_shares() {
    let name = "a_device_that_is_handed_over_keeps_what_it_shares";
    for sector in SECTORS {
        let folder = files::folder();
        for flags in [0, libc::O_DIRECT] {
            match Loop::new(&folder.path().join(format!("{flags:o}")), LEN, 8, sector) {
                Ok(device) => {
                    let what = format!("a device, flags {flags:o}");
                    nothing_changes(&what, device.path(), flags, LEN as u64);
                }
                Err(reason) => skip!(name, "{reason}"),
            }
        }
    }
}

/// ext4 with data=journal takes O_DIRECT, and statx says that direct I/O does not work.
#[test]
fn a_file_without_an_alignment_that_is_handed_over_keeps_what_it_shares() {
    let name = "a_file_without_an_alignment_that_is_handed_over_keeps_what_it_shares";
    if !sys::is_root() {
        skip!(name, "needs root to mount a small filesystem");
    }
    let folder = files::folder();
    let (_mounted, _device, here) = match journalled(folder.path()) {
        Ok(mounted) => mounted,
        Err(reason) => skip!(name, "{reason}"),
    };
    for flags in [0, libc::O_DIRECT] {
        let path = here.join(format!("{flags:o}"));
        files::make_patterned(&path, LEN, 1);
        nothing_changes(
            &format!("data=journal, flags {flags:o}"),
            &path,
            flags,
            LEN as u64,
        );
    }
}

/// An ext4 of its own that journals data. In the order in which they go away.
type Journalled = (Mounted, Loop, PathBuf);

fn journalled(folder: &Path) -> Result<Journalled, String> {
    let here = folder.join("mounted");
    let device = Loop::new(&folder.join("ext4"), 32 << 20, 1, 512)?;
    std::fs::create_dir(&here).unwrap();
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(device.path()))?;
    run(Command::new("mount")
        .args(["-o", "data=journal"])
        .arg(device.path())
        .arg(&here))?;
    Ok((Mounted(here.clone()), device, here))
}

/// A user who may use an open file, but not open it again.
#[test]
fn a_file_that_can_not_be_opened_again_keeps_what_it_shares() {
    let name = "a_file_that_can_not_be_opened_again_keeps_what_it_shares";
    if !sys::is_root() {
        skip!(name, "needs root to become another user");
    }
    watched(&format!("lent::{name}"), DEADLINE, || {
        let folder = files::folder();
        let device = Loop::new(&folder.path().join("image"), LEN, 8, 512);
        if let Err(reason) = &device {
            crate::common::note_skip(name, reason);
        }
        let journal = journalled(folder.path());
        if let Err(reason) = &journal {
            crate::common::note_skip(name, reason);
        }
        let mut all = Vec::new();
        for flags in [0, libc::O_DIRECT, libc::O_APPEND | libc::O_DIRECT] {
            let file = folder.path().join(format!("{flags:o}"));
            files::make_patterned(&file, LEN, 1);
            let mut paths = vec![("a file", file)];
            if let Ok(device) = &device
                && flags & libc::O_APPEND == 0
            {
                paths.push(("a device", device.path().to_owned()));
            }
            if let Ok((_, _, here)) = &journal {
                let path = here.join(format!("{flags:o}"));
                files::make_patterned(&path, LEN, 1);
                paths.push(("data=journal", path));
            }
            for (kind, path) in paths {
                use std::os::unix::fs::PermissionsExt;
                if kind != "a device" {
                    let closed = std::fs::Permissions::from_mode(0o600);
                    std::fs::set_permissions(&path, closed).unwrap();
                }
                if let Ok(file) = sys::open(&path, libc::O_RDWR | flags) {
                    all.push((format!("{kind} of others, flags {flags:o}"), file));
                }
            }
        }
        // The devices and mounts go when nobody uses them any more: `umount -l` and `losetup -d`
        // wait for that, and only root may ask. A child asks when this process is gone.
        child::after_this_process(|| drop((device, journal, folder)));
        child::become_nobody();
        child::stay_dumpable();
        for (what, file) in all {
            nothing_changes_of(&what, file, LEN as u64);
        }
    });
}

/// Where the page cache can't be had beside a direct descriptor, what its alignment allows is
/// answered as ever, reads of any shape too, and a ragged write as the descriptor answers it.
#[test]
fn a_direct_descriptor_that_can_not_be_opened_again_serves_what_it_can() {
    let name = "a_direct_descriptor_that_can_not_be_opened_again_serves_what_it_can";
    if !sys::is_root() {
        skip!(name, "needs root to become another user");
    }
    watched(&format!("lent::{name}"), DEADLINE, || {
        let folder = files::folder();
        let path = folder.path().join("file");
        let plain = files::make_patterned(&path, 100_000, 1);
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mine = match sys::open(&path, libc::O_RDWR | libc::O_DIRECT) {
            Ok(mine) => mine,
            Err(error) => skip!(name, "O_DIRECT: {error}"),
        };
        child::after_this_process(|| drop(folder));
        child::become_nobody();
        child::stay_dumpable();
        for backend in setup::backends() {
            let engine = setup::engine(backend);
            let file = File::from_std(&engine, mine.try_clone().unwrap()).unwrap();
            if !matches!(file.path(), IoPath::DirectOnly(_)) {
                skip!(name, "{}", file.path());
            }
            let memory = Mapping::anon(128 << 10);
            for (offset, len) in [
                (0, 4096),
                (0, 100_000),
                (777, 9000),
                (99_000, 5000),
                (100_000, 10),
            ] {
                for skew in [0, 3] {
                    let seg = (memory.address() + skew, len);
                    let expected = theirs(fd_of(&plain), false, seg, offset);
                    let bytes = sys::peek(seg.0, len);
                    let got = ours(&engine, &file, false, seg, offset, Policy::Look);
                    assert_eq!(got, expected, "{len} bytes at {offset}, {skew} into a page");
                    assert!(sys::peek(seg.0, len) == bytes);
                }
            }
            memory.fill(0..128 << 10, 5);
            let seg = (memory.address(), 8192);
            assert_eq!(
                ours(&engine, &file, true, seg, 4096, Policy::Look),
                Ok(8192)
            );
            let written = sys::read_range(fd_of(&plain), 4096, 8192);
            assert!(written == patterned(128 << 10, 5)[..8192]);
            let ragged = (memory.address(), 100);
            assert_eq!(
                ours(&engine, &file, true, ragged, 50, Policy::Look),
                theirs(fd_of(&mine), true, ragged, 50),
                "a ragged write"
            );
        }
    });
}

/// Opening a file breaks a write lease on it: the holder gets a signal, and the opener waits.
#[test]
fn a_lease_on_a_file_that_is_handed_over_is_not_broken() {
    let name = "lent::a_lease_on_a_file_that_is_handed_over_is_not_broken";
    watched(name, DEADLINE, || {
        let folder = files::folder();
        let path = folder.path().join("file");
        drop(files::make_patterned(&path, 5000, 1));
        for flags in [0, libc::O_DIRECT] {
            let mine = sys::open(&path, libc::O_RDWR | flags).unwrap();
            // SAFETY: numbers only.
            let lease = |command, kind: i32| unsafe { libc::fcntl(fd_of(&mine), command, kind) };
            if lease(libc::F_SETLEASE, libc::F_WRLCK) != 0 {
                skip!(name, "F_SETLEASE: errno {}", sys::errno());
            }
            let engine = setup::engine(setup::backends()[0]);
            let file = File::from_std(&engine, mine.try_clone().unwrap()).unwrap();
            assert_eq!(lease(libc::F_GETLEASE, 0), libc::F_WRLCK, "{}", file.path());
            let (count, _) = engine.block_on(file.read_at(vec![0; 5000], 0));
            assert_eq!(count.unwrap(), 5000);
        }
    });
}

#[test]
fn the_size_is_told_without_another_descriptor() {
    watched(
        "lent::the_size_is_told_without_another_descriptor",
        DEADLINE,
        || {
            let folder = files::folder();
            let path = folder.path().join("file");
            let mine = files::make_patterned(&path, 5000, 1);
            let engine = setup::engine(setup::backends()[0]);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&engine, &path)
                .unwrap();
            lock(&mine);
            child::limit(libc::RLIMIT_NOFILE, 0);
            assert_eq!(file.len().unwrap(), 5000);
            assert!(locked(&mine), "the lock is gone");
            child::end_now();
        },
    );
}
