//! How requests are made of buffers, pieces of memory and files: what the faces have in common.
//!
//! May know: buffers, the futures' inside, what a request asks for. Must not know: how a request
//! gets to its driver, which is the matter of each face's [`Start`].

use std::time::Instant;

use super::Policy;
use crate::driver::{Kind, Options, Plain};
use crate::engine::{InFlight, Pending};
use crate::memory::{IoBuf, IoBufMut, Pinned};
use crate::transfer::{Direction, Segment, Segments, Trust};

/// A read that fills a buffer.
#[inline]
pub(super) fn read<B: IoBufMut>(buffer: &mut B, offset: u64, options: Options) -> Plain {
    let segment = Segment {
        addr: buffer.stable_mut_ptr().expose_provenance(),
        len: buffer.bytes_total(),
    };
    Plain {
        direction: Direction::Read,
        trust: Trust::Look,
        segment,
        offset,
        pinned: buffer.pinned(),
        options,
    }
}

/// A write that sends a buffer's initialised bytes.
#[inline]
pub(super) fn write<B: IoBuf>(buffer: &B, offset: u64, options: Options) -> Plain {
    let segment = Segment {
        addr: buffer.stable_ptr().expose_provenance(),
        len: buffer.bytes_init(),
    };
    Plain {
        direction: Direction::Write,
        trust: Trust::Look,
        segment,
        offset,
        pinned: buffer.pinned(),
        options,
    }
}

fn trust(policy: Policy) -> Trust {
    match policy {
        Policy::Look => Trust::Look,
        Policy::Offload => Trust::Offload,
        Policy::Trust => Trust::Full,
    }
}

/// A file of one of the faces.
pub(crate) trait Start: Clone {
    /// A request on its way.
    type Request;

    /// Starts a request.
    ///
    /// # Safety
    ///
    /// The memory that the request names stays valid until the request was polled ready, or what
    /// keeps the memory valid was handed to [`InFlight::abandon`], or for ever.
    unsafe fn start(&self, kind: Kind, options: Options) -> Self::Request;

    /// Starts a read or write of one range.
    ///
    /// # Safety
    ///
    /// As for [`Start::start`].
    unsafe fn start_plain(&self, plain: Plain) -> Self::Request;

    /// What is asked for beside the bytes.
    fn options(&self) -> Options;

    /// The registration that holds all of a range, as far as it is known by now.
    fn find_pinned(&self, segment: Segment) -> Option<Pinned>;

    #[inline]
    fn read<B: IoBufMut>(&self, buffer: B, offset: u64) -> Pending<Self::Request, B>
    where
        Self::Request: InFlight<B>,
    {
        self.read_with(buffer, offset, self.options())
    }

    #[inline]
    fn read_with<B: IoBufMut>(
        &self,
        mut buffer: B,
        offset: u64,
        options: Options,
    ) -> Pending<Self::Request, B>
    where
        Self::Request: InFlight<B>,
    {
        let plain = read(&mut buffer, offset, options);
        // SAFETY: the segment is the buffer's own memory, and the future keeps the buffer.
        unsafe { Pending::read(self.start_plain(plain), buffer) }
    }

    #[inline]
    fn write<B: IoBuf>(&self, buffer: B, offset: u64) -> Pending<Self::Request, B>
    where
        Self::Request: InFlight<B>,
    {
        self.write_with(buffer, offset, self.options())
    }

    #[inline]
    fn write_with<B: IoBuf>(
        &self,
        buffer: B,
        offset: u64,
        options: Options,
    ) -> Pending<Self::Request, B>
    where
        Self::Request: InFlight<B>,
    {
        let plain = write(&buffer, offset, options);
        // SAFETY: the segment is the buffer's own memory, and the future keeps the buffer.
        unsafe { Pending::new(self.start_plain(plain), buffer) }
    }

    fn read_vectored<B: IoBufMut>(
        &self,
        mut buffers: Vec<B>,
        offset: u64,
    ) -> Pending<Self::Request, Vec<B>>
    where
        Self::Request: InFlight<Vec<B>>,
    {
        let segment = |buffer: &mut B| Segment {
            addr: buffer.stable_mut_ptr().expose_provenance(),
            len: buffer.bytes_total(),
        };
        let segments = Segments::vector(buffers.iter_mut().map(segment));
        // SAFETY: the segments are the buffers' own memory, and the future keeps the buffers.
        unsafe {
            let request = self.transfer(Direction::Read, segments, offset, Trust::Look, None);
            Pending::read_vectored(request, buffers)
        }
    }

    fn write_vectored<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> Pending<Self::Request, Vec<B>>
    where
        Self::Request: InFlight<Vec<B>>,
    {
        let segment = |buffer: &B| Segment {
            addr: buffer.stable_ptr().expose_provenance(),
            len: buffer.bytes_init(),
        };
        let segments = Segments::vector(buffers.iter().map(segment));
        // SAFETY: the segments are the buffers' own memory, and the future keeps the buffers.
        unsafe {
            let request = self.transfer(Direction::Write, segments, offset, Trust::Look, None);
            Pending::new(request, buffers)
        }
    }

    /// A read or write of memory that the caller answers for.
    ///
    /// # Safety
    ///
    /// As for [`Start::start`].
    unsafe fn raw(
        &self,
        direction: Direction,
        segments: Segments,
        offset: u64,
        policy: Policy,
    ) -> Pending<Self::Request, ()>
    where
        Self::Request: InFlight<()>,
    {
        let pinned = match segments {
            Segments::One(segment) => self.find_pinned(segment),
            Segments::Many(_) => None,
        };
        // SAFETY: the caller's contract.
        unsafe {
            let request = self.transfer(direction, segments, offset, trust(policy), pinned);
            Pending::new(request, ())
        }
    }

    /// # Safety
    ///
    /// As for [`Start::start`].
    unsafe fn transfer(
        &self,
        direction: Direction,
        segments: Segments,
        offset: u64,
        trust: Trust,
        pinned: Option<Pinned>,
    ) -> Self::Request {
        let options = self.options();
        match segments {
            // SAFETY: the caller's contract.
            Segments::One(segment) => unsafe {
                self.start_plain(Plain {
                    direction,
                    trust,
                    segment,
                    offset,
                    pinned,
                    options,
                })
            },
            Segments::Many(_) => {
                let kind = Kind::Transfer {
                    direction,
                    segments,
                    offset,
                    trust,
                    pinned,
                };
                // SAFETY: the caller's contract.
                unsafe { self.start(kind, options) }
            }
        }
    }

    /// A request without memory.
    fn simple(&self, kind: Kind) -> Pending<Self::Request, ()>
    where
        Self::Request: InFlight<()>,
    {
        debug_assert!(!matches!(kind, Kind::Transfer { .. }));
        // SAFETY: no memory is named.
        unsafe { Pending::new(self.start(kind, self.options()), ()) }
    }
}

/// The options with what is left of the time until `due`.
pub(crate) fn until(options: Options, due: Option<Instant>) -> Options {
    let left = due.map(|due| due.saturating_duration_since(Instant::now()));
    Options {
        // Zero would be no limit at all.
        timeout_ns: left.map_or(0, |left| {
            u64::try_from(left.as_nanos()).unwrap_or(u64::MAX).max(1)
        }),
        ..options
    }
}
