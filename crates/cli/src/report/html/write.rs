//! The file that a page goes into: looked at before anything is measured, and there as a whole or
//! not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Where the page will be.
pub(crate) struct Target {
    /// As the user wrote it.
    shown: String,
    path: PathBuf,
    /// Something that is no ordinary file and is written to as it is: a pipe, a terminal,
    /// /dev/null.
    stream: bool,
    /// Standard output.
    standard: bool,
    /// Of the file that is replaced.
    mode: Option<u32>,
}

/// What every page of ours has at its beginning, and what no other page has.
pub(super) const GENERATOR: &str = "nofault, the program";
/// The bytes of a page in which it stands.
const BEGINNING: u64 = 1024;

impl Target {
    /// Sees whether the file can be written. A page of ours that is there will be replaced, anything
    /// else is left alone: a job file or somebody's own page where the page's name was meant to be
    /// is no rare mistake. `-` is standard output. The error is the whole line for the user.
    pub(crate) fn new(path: &Path) -> Result<Target, String> {
        let shown = path.display().to_string();
        let fail = |error: io::Error| format!("cannot write {shown}: {error}");
        // The file behind a symbolic link is what is meant, and stays behind it.
        let path = if path.is_symlink() {
            fs::canonicalize(path).map_err(fail)?
        } else {
            path.to_owned()
        };
        let mut target = Target {
            shown: shown.clone(),
            path,
            stream: false,
            standard: shown == "-",
            mode: None,
        };
        if target.standard {
            return Ok(target);
        }
        match fs::metadata(&target.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
            Ok(meta) if meta.is_dir() => {
                return Err(format!(
                    "cannot write {shown}: it is a directory; name a file in it"
                ));
            }
            Ok(meta) if meta.is_file() => {
                // Renaming would not ask whether it may be written.
                let opened = File::options()
                    .read(true)
                    .append(true)
                    .open(&target.path)
                    .map_err(fail)?;
                if meta.len() > 0 && !is_page(&opened).map_err(fail)? {
                    return Err(format!(
                        "{shown} is there and is no page of nofault's: it is not replaced; name \
                         another file with --html"
                    ));
                }
                target.mode = Some(meta.permissions().mode() & 0o7777);
            }
            Ok(_) => target.stream = true,
        }
        if target.stream {
            return Ok(target);
        }
        target
            .temporary()
            .map(|_| target)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("cannot write {shown}: its directory is not there")
                }
                _ => fail(error),
            })
    }

    /// Whether the page goes to standard output, where nothing else may go then.
    pub(crate) fn is_standard_output(&self) -> bool {
        self.standard
    }

    /// Removed when dropped.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let dir = self
            .path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // As any new file, not for the owner alone.
        let mode = Permissions::from_mode(0o666);
        tempfile::Builder::new()
            .prefix(".nofault-")
            .suffix(".html")
            .permissions(mode)
            .tempfile_in(dir)
    }

    /// Writes the page.
    pub(crate) fn write(&self, page: &str) -> Result<(), String> {
        let fail = |error: io::Error| format!("cannot write {}: {error}", self.shown);
        if self.standard {
            return crate::report::print(page);
        }
        if self.stream {
            let written = File::options()
                .write(true)
                .open(&self.path)
                .and_then(|mut file| file.write_all(page.as_bytes()));
            return written.map_err(fail);
        }
        let mut file = self.temporary().map_err(fail)?;
        file.write_all(page.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(fail)?;
        if let Some(mode) = self.mode {
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))
                .map_err(fail)?;
        }
        file.persist(&self.path)
            .map(|_| ())
            .map_err(|error| fail(error.error))
    }
}

fn is_page(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(BEGINNING).read_to_end(&mut start)?;
    let marker = format!("<meta name=\"generator\" content=\"{GENERATOR}\">");
    Ok(start
        .windows(marker.len())
        .any(|part| part == marker.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u32) -> String {
        format!("<!DOCTYPE html><meta name=\"generator\" content=\"{GENERATOR}\">{number}")
    }

    #[test]
    fn a_page_is_replaced_as_a_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("p.html");
        Target::new(&path)
            .expect("may be written")
            .write(&page(1))
            .expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("changed");
        let before = File::open(&path).expect("opened");
        Target::new(&path)
            .expect("may be replaced")
            .write(&page(2))
            .expect("written");
        let mut old = String::new();
        (&before).read_to_string(&mut old).expect("read");
        // Whoever reads the old one reads it to its end.
        assert_eq!(
            (old, fs::read_to_string(&path).expect("read")),
            (page(1), page(2))
        );
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn what_is_no_page_of_ours_is_not_replaced_and_an_empty_file_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a-file");
        for other in [
            "[job]\nrw=read\n",
            "<!DOCTYPE html><title>mine</title>",
            "<!DOCTYPE html><meta name=\"generator\" content=\"another\">",
        ] {
            fs::write(&path, other).expect("written");
            let line = Target::new(&path).map(|_| ()).expect_err("another file");
            assert!(
                line.contains("a-file") && line.contains("no page of nofault's"),
                "{line}"
            );
        }
        fs::write(&path, "").expect("written");
        assert!(Target::new(&path).is_ok());
    }

    #[test]
    fn what_can_not_be_written_is_said_before_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, word) in [
            (dir.path().to_owned(), "directory"),
            (dir.path().join("none/p.html"), "not there"),
        ] {
            let line = Target::new(&path).map(|_| ()).expect_err("no such place");
            assert!(
                line.contains(word) && line.contains(&path.display().to_string()),
                "{line}"
            );
        }
        assert!(Target::new(&dir.path().join("p.html")).is_ok());
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
    }

    #[test]
    fn a_pipe_is_written_to_and_stays_one_and_a_link_stays_a_link() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
        // Open on both ends, so that neither waits for the other.
        let mut other = File::options()
            .read(true)
            .write(true)
            .open(&pipe)
            .expect("opened");
        Target::new(&pipe)
            .expect("may be written")
            .write("page")
            .expect("written");
        let mut read = [0; 4];
        other.read_exact(&mut read).expect("read");
        assert!(&read == b"page" && !fs::metadata(&pipe).expect("there").is_file());
        let (real, link) = (dir.path().join("real.html"), dir.path().join("link.html"));
        fs::write(&real, "").expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        Target::new(&link)
            .expect("may be written")
            .write("page")
            .expect("written");
        assert!(link.is_symlink() && fs::read_to_string(&real).expect("read") == "page");
    }
}
