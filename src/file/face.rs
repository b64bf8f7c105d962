//! What users can do with a file, said once for both faces.
//!
//! May know: the public names that each face has for the same things. Must not know: which face it
//! is in.

/// The methods of a face's `File`. `$refused` is what its requests may end with beside what the
/// kernel answers, `$clock` who looks at the time of requests, `$set_len` what `set_len` means
/// before Linux 6.9, and the last argument what a buffer must be beside `IoBuf`.
///
/// The module that calls this has a `File` with the fields `options` and the methods `opened`, and
/// is a [`Start`](super::Start); it has the face's `Io`, `IoVec`, `RawIo`, `Simple` and `IoAll`.
macro_rules! file_face {
    ($refused:literal, $clock:literal, $set_len:literal, [$($bound:tt)*]) => {
        /// Reads and writes. They start when they are made, and end when they do, awaited or not.
        impl File {
            /// Reads into a buffer, from `offset` bytes on. Fills
            /// [`bytes_total`](IoBufMut::bytes_total) bytes, for a `Vec<u8>` its capacity.
            ///
            /// # Errors
            ///
            #[doc = concat!("As pread(2)", $refused, ".")]
            /// A count below what was asked for is the end of the file, or an error that the next
            /// read will meet.
            #[inline]
            pub fn read_at<B: IoBufMut $($bound)*>(&self, buffer: B, offset: u64) -> Io<B> {
                Io(self.read(buffer, offset))
            }

            /// Writes a buffer's initialised bytes, from `offset` bytes on.
            ///
            /// # Errors
            ///
            #[doc = concat!("As pwrite(2)", $refused, ".")]
            /// A count below what was asked for means that the next write will meet an error.
            #[inline]
            pub fn write_at<B: IoBuf $($bound)*>(&self, buffer: B, offset: u64) -> Io<B> {
                Io(self.write(buffer, offset))
            }

            /// Reads into several buffers in order, as preadv(2). At most 1024 of them. Pinned
            /// memory is looked at like any other here.
            ///
            /// # Errors
            ///
            /// As [`File::read_at`]; EINVAL for more than 1024 buffers.
            pub fn readv_at<B: IoBufMut $($bound)*>(
                &self,
                buffers: Vec<B>,
                offset: u64,
            ) -> IoVec<B> {
                IoVec(self.read_vectored(buffers, offset))
            }

            /// Writes several buffers in order, as pwritev(2). At most 1024 of them. Pinned memory
            /// is looked at like any other here.
            ///
            /// # Errors
            ///
            /// As [`File::write_at`]; EINVAL for more than 1024 buffers.
            pub fn writev_at<B: IoBuf $($bound)*>(&self, buffers: Vec<B>, offset: u64) -> IoVec<B> {
                IoVec(self.write_vectored(buffers, offset))
            }

            /// Reads until the buffer is full: for a `Vec<u8>` up to its capacity, which may be
            /// more than you asked for; [`into_slice(..n)`](crate::IoBufExt::into_slice) says how
            /// much it is to be.
            ///
            /// # Errors
            ///
            /// As [`File::read_at`], and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the
            /// file ends before; what was read until then is in the buffer.
            pub fn read_exact_at<B: IoBufMut $($bound)*>(&self, buffer: B, offset: u64) -> IoAll<B> {
                IoAll(Whole::read(self, buffer, offset))
            }

            /// Writes all of the buffer's initialised bytes.
            ///
            /// # Errors
            ///
            /// As [`File::write_at`]; how much was written before, [`IoAll::cancel`] alone tells.
            pub fn write_all_at<B: IoBuf $($bound)*>(&self, buffer: B, offset: u64) -> IoAll<B> {
                IoAll(Whole::write(self, buffer, offset))
            }

            /// Reads into memory that the caller answers for. The memory may be anything, also
            /// absent: what can't be written ends the request with a count or with EFAULT, as with
            /// pread(2). Inside a registered [`Region`](crate::Region) no look is needed.
            ///
            /// # Errors
            ///
            /// As [`File::read_at`].
            ///
            /// # Safety
            ///
            /// Until the future is ready nobody else uses the memory, on any thread, and it is not
            /// given to anybody else; if the future is dropped before, see [`RawIo`]. Memory that
            /// holds a Rust value must be valid for any bytes.
            pub unsafe fn read_raw_at(
                &self,
                ptr: *mut u8,
                len: usize,
                offset: u64,
                policy: Policy,
            ) -> RawIo {
                let segment = Segment {
                    addr: ptr.expose_provenance(),
                    len,
                };
                // SAFETY: the caller keeps the memory until the future says that it is free.
                RawIo(unsafe { self.raw(Direction::Read, Segments::One(segment), offset, policy) })
            }

            /// Writes memory that the caller answers for. See [`File::read_raw_at`].
            ///
            /// # Errors
            ///
            /// As [`File::write_at`].
            ///
            /// # Safety
            ///
            /// Until the future is ready nobody writes to the memory, on any thread, and it is not
            /// given to anybody else; if the future is dropped before, see [`RawIo`].
            pub unsafe fn write_raw_at(
                &self,
                ptr: *const u8,
                len: usize,
                offset: u64,
                policy: Policy,
            ) -> RawIo {
                let segment = Segment {
                    addr: ptr.expose_provenance(),
                    len,
                };
                // SAFETY: as in `read_raw_at`.
                RawIo(unsafe { self.raw(Direction::Write, Segments::One(segment), offset, policy) })
            }

            /// Reads into several pieces of memory that the caller answers for, as preadv(2). At
            /// most 1024 of them.
            ///
            /// # Errors
            ///
            /// As [`File::readv_at`].
            ///
            /// # Safety
            ///
            /// As [`File::read_raw_at`], for each piece.
            pub unsafe fn readv_raw_at(
                &self,
                pieces: Vec<(*mut u8, usize)>,
                offset: u64,
                policy: Policy,
            ) -> RawIo {
                let segments = Segments::vector(pieces.into_iter().map(|(ptr, len)| Segment {
                    addr: ptr.expose_provenance(),
                    len,
                }));
                // SAFETY: as in `read_raw_at`.
                RawIo(unsafe { self.raw(Direction::Read, segments, offset, policy) })
            }

            /// Writes several pieces of memory that the caller answers for, as pwritev(2). At most
            /// 1024 of them.
            ///
            /// # Errors
            ///
            /// As [`File::writev_at`].
            ///
            /// # Safety
            ///
            /// As [`File::write_raw_at`], for each piece.
            pub unsafe fn writev_raw_at(
                &self,
                pieces: Vec<(*const u8, usize)>,
                offset: u64,
                policy: Policy,
            ) -> RawIo {
                let segments = Segments::vector(pieces.into_iter().map(|(ptr, len)| Segment {
                    addr: ptr.expose_provenance(),
                    len,
                }));
                // SAFETY: as in `read_raw_at`.
                RawIo(unsafe { self.raw(Direction::Write, segments, offset, policy) })
            }
        }

        /// Requests without memory. They start when they are made, too.
        impl File {
            /// Brings data and metadata of all writes that have ended to the device, as fsync(2).
            /// Writes in flight are not waited for.
            ///
            /// # Errors
            ///
            #[doc = concat!("As fsync(2)", $refused, ".")]
            pub fn sync_all(&self) -> Simple {
                Simple(self.simple(Kind::Sync { data_only: false }))
            }

            /// Brings the data of all writes that have ended to the device, and what is needed to
            /// find it, as fdatasync(2).
            ///
            /// # Errors
            ///
            #[doc = concat!("As fdatasync(2)", $refused, ".")]
            pub fn sync_data(&self) -> Simple {
                Simple(self.simple(Kind::Sync { data_only: true }))
            }

            /// Makes sure that `len` bytes from `offset` on have their place on the device, as
            /// fallocate(2) with mode 0. Grows the file.
            ///
            /// # Errors
            ///
            #[doc = concat!("As fallocate(2)", $refused, ".")]
            pub fn allocate(&self, offset: u64, len: u64) -> Simple {
                Simple(self.simple(Kind::Allocate { offset, len }))
            }

            #[doc = concat!("Cuts or extends the file to `len` bytes, as ftruncate(2). ", $set_len)]
            ///
            /// # Errors
            ///
            #[doc = concat!("As ftruncate(2)", $refused, ".")]
            pub fn set_len(&self, len: u64) -> Simple {
                Simple(self.simple(Kind::SetLen { len }))
            }
        }

        /// What is asked for beside the bytes.
        impl File {
            /// A second handle to the same file, whose requests have this priority. They and those
            /// of the first handle may be in flight together.
            ///
            /// What the priority does is up to the device's I/O scheduler (`none` takes no notice).
            ///
            /// # Errors
            ///
            /// EPERM: [`Priority::real_time`] needs CAP_SYS_ADMIN or CAP_SYS_NICE.
            pub fn with_priority(&self, priority: Priority) -> io::Result<File> {
                priority.check()?;
                let mut file = self.clone();
                file.options.priority = priority.0;
                Ok(file)
            }

            /// A second handle to the same file, whose requests are cancelled after this time,
            /// counted from the call that makes them; never with zero.
            ///
            /// A request that its time ends has moved what its count says, or fails with
            /// [`TimedOut`](io::ErrorKind::TimedOut) if that is nothing. What the device has
            /// already can't be called back: such a request ends late, with the device's answer.
            #[doc = $clock]
            #[must_use = "the requests of the first handle have the time that they had"]
            pub fn with_timeout(&self, time: Duration) -> File {
                let mut file = self.clone();
                file.options.timeout_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                file
            }
        }

        /// What is known of the file.
        impl File {
            /// The way this file's bytes go.
            pub fn path(&self) -> &IoPath {
                &self.opened().path
            }

            /// What a request must be a multiple of to go the direct way whole, in bytes; all 1 for
            /// a file without a direct path.
            pub fn alignment(&self) -> Alignment {
                self.opened().alignment()
            }

            /// Where the alignment was learnt; `None` for a file without a direct path.
            pub fn alignment_source(&self) -> Option<AlignmentSource> {
                self.opened().source
            }

            /// The size now, in bytes, as fstat(2) gives it; for a block device its capacity. A
            /// blocking call, though a short one.
            ///
            /// # Errors
            ///
            /// As fstat(2), and of a device its ioctl(2).
            pub fn len(&self) -> io::Result<u64> {
                self.opened().len()
            }

            /// Whether the size is zero.
            ///
            /// # Errors
            ///
            /// As [`File::len`].
            pub fn is_empty(&self) -> io::Result<bool> {
                Ok(self.len()? == 0)
            }
        }

        /// The descriptor without O_DIRECT: the one that was opened, or given to
        /// [`from_std`](File::from_std), unless that had O_DIRECT itself. For what is asked of the
        /// open file: fstat(2), posix_fadvise(2), flock(2) and OFD locks, mmap(2), ioctl(2). No
        /// request uses its position. Its flags (F_SETFL) are not to be changed, since requests go
        /// by what was found at the opening; and a duplicate of it that is closed, by anybody,
        /// ends the process's fcntl(2) record locks on the file.
        impl AsFd for File {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.opened().buffered_fd()
            }
        }

        /// The descriptor that [`as_fd`](AsFd::as_fd) gives, with the same rules, and one more: it
        /// is not to be closed.
        impl AsRawFd for File {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl fmt::Debug for File {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("File")
                    .field("path", self.path())
                    .field("alignment", &self.alignment())
                    .finish_non_exhaustive()
            }
        }

        /// A read or write that goes on until all of the buffer was moved. Gives the buffer back.
        ///
        /// Its first pass starts when it is made, as any request does; passes after that start when
        /// the one before is over and this is polled. Dropped before it is ready it cancels the
        /// pass in flight.
        #[must_use = "a request whose future is dropped is cancelled"]
        pub struct IoAll<B: 'static $($bound)*>(Whole<File, B>);

        impl<B: 'static $($bound)*> IoAll<B> {
            /// Asks to end the request early. Gives the count of all bytes that were moved, or the
            /// error if that is none, and the buffer back, as soon as the kernel no longer uses the
            /// buffer. See [`Io::cancel`].
            pub fn cancel(mut self) -> impl Future<Output = (io::Result<usize>, B)> + use<B> {
                self.0.cancel();
                poll_fn(move |context| self.0.poll(context).map(|(result, buffer)| {
                    let count = self.0.done();
                    let result = if count > 0 { Ok(count) } else { result.map(|()| 0) };
                    (result, buffer)
                }))
            }
        }

        impl<B: 'static $($bound)*> Future for IoAll<B> {
            type Output = (io::Result<()>, B);

            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(context)
            }
        }

        impl<B: 'static $($bound)*> fmt::Debug for IoAll<B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("IoAll").field(&self.0).finish()
            }
        }
    };
}
pub(crate) use file_face;
