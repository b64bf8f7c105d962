#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]
//! Stand-in for the engine, until it is there. Not to be merged.
#![allow(unused_variables)]
pub(crate) use nofault::memory::{IoBuf, IoBufMut};
use std::future::{Future, Ready, ready};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Auto,
    Uring,
    Threads,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    #[default]
    Look,
    Offload,
    Trust,
}
#[derive(Clone)]
pub(crate) struct Engine(Rc<Backend>);
pub(crate) struct Builder(Backend);
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineInfo {
    pub(crate) backend: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) flags: Vec<&'static str>,
}
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) looked: u64,
    pub(crate) resident: u64,
    pub(crate) fault_ins: u64,
    pub(crate) bounced: u64,
    pub(crate) buffered: u64,
}
impl Builder {
    pub(crate) fn depth(self, _: u32) -> Self {
        self
    }
    pub(crate) fn backend(self, b: Backend) -> Self {
        Self(b)
    }
    pub(crate) fn drain_timeout(self, _: Duration) -> Self {
        self
    }
    pub(crate) fn build(self) -> io::Result<Engine> {
        Ok(Engine(Rc::new(self.0)))
    }
}
struct Unpark(std::thread::Thread);
impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark()
    }
}
impl Engine {
    pub(crate) fn new() -> io::Result<Self> {
        Self::builder().build()
    }
    pub(crate) fn builder() -> Builder {
        Builder(Backend::Auto)
    }
    pub(crate) fn block_on<F: Future>(&self, f: F) -> F::Output {
        let mut f = std::pin::pin!(f);
        let w = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(&w)) {
                return v;
            }
            std::thread::park();
        }
    }
    pub(crate) fn turn(&self, _: Option<Duration>) -> io::Result<usize> {
        Ok(0)
    }
    pub(crate) fn stats(&self) -> Stats {
        Stats::default()
    }
    pub(crate) fn info(&self) -> EngineInfo {
        EngineInfo { backend: if *self.0 == Backend::Threads { "threads" } else { "uring" }, ..Default::default() }
    }
    pub(crate) fn pool(&self, count: usize, bytes: usize) -> io::Result<Pool> {
        Ok(Pool(std::cell::Cell::new(count), bytes))
    }
    pub(crate) fn register<B: IoBufMut>(&self, mut buf: B) -> io::Result<Region> {
        Ok(Region(buf.stable_mut_ptr(), buf.bytes_total()))
    }
}
pub(crate) struct Pool(std::cell::Cell<usize>, usize);
impl Pool {
    pub(crate) fn get(&self) -> Option<AlignedBuf> {
        let n = self.0.get();
        if n == 0 {
            return None;
        }
        self.0.set(n - 1);
        Some(AlignedBuf::new(self.1))
    }
    pub(crate) fn is_pinned(&self) -> bool {
        true
    }
}
pub(crate) struct Region(*mut u8, usize);
impl Region {
    pub(crate) fn slice(&self, r: std::ops::Range<usize>) -> Option<AlignedBuf> {
        Some(AlignedBuf::new(r.len()))
    }
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0
    }
    pub(crate) fn len(&self) -> usize {
        self.1
    }
    pub(crate) fn is_pinned(&self) -> bool {
        true
    }
}
#[derive(Debug)]
pub(crate) enum IoPath {
    Direct,
    Buffered(String),
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alignment {
    pub(crate) mem: u32,
    pub(crate) offset: u32,
    pub(crate) read_offset: u32,
}
pub(crate) struct File {
    f: std::fs::File,
    path: IoPath,
    e: Engine,
}
pub(crate) struct OpenOptions(std::fs::OpenOptions);
impl OpenOptions {
    pub(crate) fn new() -> Self {
        Self(std::fs::OpenOptions::new())
    }
    pub(crate) fn read(mut self, y: bool) -> Self {
        self.0.read(y);
        self
    }
    pub(crate) fn write(mut self, y: bool) -> Self {
        self.0.write(y);
        self
    }
    pub(crate) fn create(mut self, y: bool) -> Self {
        self.0.create(y);
        self
    }
    pub(crate) fn truncate(mut self, y: bool) -> Self {
        self.0.truncate(y);
        self
    }
    pub(crate) fn direct(self, y: bool) -> Self {
        self
    }
    pub(crate) fn open(&self, e: &Engine, p: impl AsRef<Path>) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut o = self.0.clone();
        if std::env::var_os("STANDIN_DIRECT").is_some() {
            o.custom_flags(libc::O_DIRECT);
        }
        Ok(File { f: o.open(p)?, path: IoPath::Direct, e: e.clone() })
    }
}
type Segs = Vec<(usize, usize)>;
impl File {
    pub(crate) fn open(e: &Engine, p: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(e, p)
    }
    pub(crate) fn create(e: &Engine, p: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(e, p)
    }
    pub(crate) fn from_std(e: &Engine, f: std::fs::File) -> io::Result<File> {
        Ok(File { f, path: IoPath::Direct, e: e.clone() })
    }
    pub(crate) fn path(&self) -> &IoPath {
        &self.path
    }
    pub(crate) fn alignment(&self) -> Alignment {
        Alignment { mem: 1, offset: 1, read_offset: 1 }
    }
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.f.metadata()?.len())
    }
    fn io(r: Result<usize, i32>) -> io::Result<usize> {
        r.map_err(io::Error::from_raw_os_error)
    }
    pub(crate) unsafe fn read_raw_at(&self, p: *mut u8, n: usize, o: u64, _: Policy) -> Ready<io::Result<usize>> {
        // SAFETY: caller.
        ready(Self::io(unsafe { super::sys::pread(self.f.as_raw_fd(), (p as usize, n), o) }))
    }
    pub(crate) unsafe fn write_raw_at(&self, p: *const u8, n: usize, o: u64, _: Policy) -> Ready<io::Result<usize>> {
        ready(Self::io(super::sys::pwrite(self.f.as_raw_fd(), (p as usize, n), o)))
    }
    pub(crate) unsafe fn readv_raw_at(&self, s: Vec<(*mut u8, usize)>, o: u64, _: Policy) -> Ready<io::Result<usize>> {
        let s: Segs = s.into_iter().map(|(p, n)| (p as usize, n)).collect();
        // SAFETY: caller.
        ready(Self::io(unsafe { super::sys::preadv(self.f.as_raw_fd(), &s, o) }))
    }
    pub(crate) unsafe fn writev_raw_at(&self, s: Vec<(*const u8, usize)>, o: u64, _: Policy) -> Ready<io::Result<usize>> {
        let s: Segs = s.into_iter().map(|(p, n)| (p as usize, n)).collect();
        ready(Self::io(super::sys::pwritev(self.f.as_raw_fd(), &s, o)))
    }
    pub(crate) fn read_at<B: IoBufMut>(&self, mut b: B, o: u64) -> Ready<(io::Result<usize>, B)> {
        let seg = (b.stable_mut_ptr() as usize, b.bytes_total());
        // SAFETY: b is ours.
        let r = unsafe { super::sys::pread(self.f.as_raw_fd(), seg, o) };
        if let Ok(n) = r {
            // SAFETY: just read.
            unsafe { b.set_init(n) }
        }
        ready((Self::io(r), b))
    }
    pub(crate) fn write_at<B: IoBuf>(&self, b: B, o: u64) -> Ready<(io::Result<usize>, B)> {
        ready((Self::io(super::sys::pwrite(self.f.as_raw_fd(), (b.stable_ptr() as usize, b.bytes_init()), o)), b))
    }
    pub(crate) fn read_exact_at<B: IoBufMut>(&self, b: B, o: u64) -> Ready<(io::Result<()>, B)> {
        let n = b.bytes_total();
        let (r, b) = self.read_at(b, o).into_inner();
        ready((r.and_then(|k| if k == n { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }), b))
    }
    pub(crate) fn write_all_at<B: IoBuf>(&self, b: B, o: u64) -> Ready<(io::Result<()>, B)> {
        let (r, b) = self.write_at(b, o).into_inner();
        ready((r.map(|_| ()), b))
    }
    pub(crate) fn readv_at<B: IoBufMut>(&self, mut v: Vec<B>, o: u64) -> Ready<(io::Result<usize>, Vec<B>)> {
        let s: Segs = v.iter_mut().map(|b| (b.stable_mut_ptr() as usize, b.bytes_total())).collect();
        // SAFETY: v is ours.
        let r = unsafe { super::sys::preadv(self.f.as_raw_fd(), &s, o) };
        let mut left = r.unwrap_or(0);
        for (b, s) in v.iter_mut().zip(s) {
            let n = left.min(s.1);
            left -= n;
            // SAFETY: just read.
            unsafe { b.set_init(n) }
        }
        ready((Self::io(r), v))
    }
    pub(crate) fn writev_at<B: IoBuf>(&self, v: Vec<B>, o: u64) -> Ready<(io::Result<usize>, Vec<B>)> {
        let s: Segs = v.iter().map(|b| (b.stable_ptr() as usize, b.bytes_init())).collect();
        ready((Self::io(super::sys::pwritev(self.f.as_raw_fd(), &s, o)), v))
    }
    pub(crate) fn sync_all(&self) -> Ready<io::Result<()>> {
        ready(self.f.sync_all())
    }
    pub(crate) fn sync_data(&self) -> Ready<io::Result<()>> {
        ready(self.f.sync_data())
    }
    pub(crate) fn set_len(&self, n: u64) -> Ready<io::Result<()>> {
        ready(self.f.set_len(n))
    }
    pub(crate) fn allocate(&self, o: u64, n: u64) -> Ready<io::Result<()>> {
        // SAFETY: numbers.
        ready(if unsafe { libc::fallocate64(self.f.as_raw_fd(), 0, o as i64, n as i64) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        })
    }
}
pub(crate) struct AlignedBuf {
    all: Vec<u8>,
    start: usize,
    len: usize,
}
impl AlignedBuf {
    pub(crate) fn new(len: usize) -> Self {
        let all = vec![0; len + 4096];
        let start = all.as_ptr().align_offset(4096);
        Self { all, start, len }
    }
}
impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.all[self.start..self.start + self.len]
    }
}
impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.all[self.start..self.start + self.len]
    }
}
// SAFETY: heap.
unsafe impl IoBuf for AlignedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.len
    }
}
// SAFETY: heap.
unsafe impl IoBufMut for AlignedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.len
    }
    unsafe fn set_init(&mut self, _: usize) {}
}
pub(crate) type PoolBuf = AlignedBuf;
pub(crate) type RegionBuf = AlignedBuf;

impl std::fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
