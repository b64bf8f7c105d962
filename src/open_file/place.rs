//! What a back end knows a descriptor by.

use std::os::fd::RawFd;

/// A descriptor, or its place in the ring's table of registered files. As small as a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRef {
    /// The descriptor, or the place.
    pub(crate) number: RawFd,
    pub(crate) registered: bool,
    /// Completions may be polled for, as far as is known.
    pub(crate) polled: bool,
}

impl FileRef {
    /// What the back end that gave this place, or none, knows the descriptor by.
    pub(crate) fn new(descriptor: RawFd, place: Option<u32>) -> FileRef {
        let place = place.and_then(|place| RawFd::try_from(place).ok());
        FileRef {
            number: place.unwrap_or(descriptor),
            registered: place.is_some(),
            polled: false,
        }
    }

    /// For who knows of no table.
    pub(crate) fn descriptor(self) -> RawFd {
        debug_assert!(
            !self.registered,
            "a place in the ring's table is no descriptor"
        );
        self.number
    }
}
