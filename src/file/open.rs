//! How a file is opened.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use crate::engine::Engine;
use crate::open_file::Opened;

/// Options for opening a file, as [`std::fs::OpenOptions`]. Direct I/O is preferred unless told
/// otherwise. For a [`Handle`](crate::Handle), see
/// [`handle::File::open_with`](crate::handle::File::open_with).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// use nofault::{Engine, OpenOptions};
///
/// let engine = Engine::new()?;
/// let file = OpenOptions::new().read(true).write(true).create(true).open(&engine, &path)?;
/// println!("{}, {:?}", file.path(), file.alignment());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    std: std::fs::OpenOptions,
    direct: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Nothing but direct I/O is set.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions {
            std: std::fs::OpenOptions::new(),
            direct: true,
        }
    }

    /// To read.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.std.read(read);
        self
    }

    /// To write.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.std.write(write);
        self
    }

    /// To write, always at the end, wherever a request says: as O_APPEND, which pwrite(2) on Linux
    /// obeys too. Writes of several processes do not overlap. All of the file goes through the page
    /// cache ([`Reason::Append`](crate::Reason::Append)), and a write in one piece.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.std.append(append);
        self
    }

    /// Makes the file if it is not there.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.std.create(create);
        self
    }

    /// Makes the file, and fails with EEXIST if it is there.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.std.create_new(create_new);
        self
    }

    /// Empties the file.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.std.truncate(truncate);
        self
    }

    /// The permission bits of a file that is made; 0o666 less the umask unless told.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.std.mode(mode);
        self
    }

    /// More flags for open(2), as [`custom_flags`](OpenOptionsExt::custom_flags): O_SYNC and
    /// O_DSYNC hold for every way that the bytes go.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.std.custom_flags(flags);
        self
    }

    /// Direct I/O where it works (true, unless told), or the page cache for everything.
    pub fn direct(&mut self, direct: bool) -> &mut Self {
        self.direct = direct;
        self
    }

    /// Opens the file, and finds out what direct I/O on it needs. A blocking call: some system
    /// calls, and up to five small reads.
    ///
    /// # Errors
    ///
    /// As open(2). That there is no direct path is no error, see [`File::path`].
    pub fn open(&self, engine: &Engine, path: impl AsRef<Path>) -> io::Result<File> {
        File::new(engine, self.std.open(path)?, self.direct)
    }

    /// As `open`, for no engine in particular.
    pub(crate) fn open_for_all(&self, path: &Path) -> io::Result<Opened> {
        Opened::new(self.std.open(path)?, self.direct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::descriptor::status_flags;

    /// The direct half is opened by itself; without the flag a write that went there would not be
    /// on the device when it completes.
    #[test]
    fn both_halves_are_synchronous_if_the_file_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for flag in [
            0,
            libc::O_DSYNC,
            libc::O_SYNC,
            libc::O_SYNC | libc::O_DIRECT,
        ] {
            let mut options = OpenOptions::new();
            options
                .write(true)
                .read(true)
                .create(true)
                .custom_flags(flag);
            let opened = match options.open_for_all(&path) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => continue,
                opened => opened.expect("opened"),
            };
            for half in [Some(opened.buffered_fd()), opened.direct_fd()]
                .into_iter()
                .flatten()
            {
                assert_eq!(
                    status_flags(half).expect("flags") & libc::O_SYNC,
                    flag & libc::O_SYNC
                );
            }
        }
    }
}
