//! The name that a back end knows a descriptor by.

use std::os::fd::RawFd;

/// A descriptor, or its place in the ring's table of registered files. It fits into a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRef {
    /// The descriptor, or the place.
    pub(crate) number: RawFd,
    pub(crate) registered: bool,
    /// Completions are polled for, until the device refuses that.
    pub(crate) polled: bool,
}

impl FileRef {
    /// The name of a descriptor for the back end that has registered it at `place`, or has not
    /// registered it.
    pub(crate) fn new(descriptor: RawFd, place: Option<u32>) -> FileRef {
        let place = place.and_then(|place| RawFd::try_from(place).ok());
        FileRef {
            number: place.unwrap_or(descriptor),
            registered: place.is_some(),
            polled: false,
        }
    }

    /// The descriptor, for back ends without a table of registered files.
    pub(crate) fn descriptor(self) -> RawFd {
        debug_assert!(
            !self.registered,
            "a place in the ring's table is no descriptor"
        );
        self.number
    }
}
