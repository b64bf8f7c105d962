//! How a handle is set up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Handle;
use super::admission::{Admission, MAX_BYTES, MAX_REQUESTS};
use super::shared::{Owner, Shared};
use super::thread;
use crate::driver::{BackendChoice, Timing, new_id};
use crate::engine::{Engine, EngineBuilder, Pages};

/// I/O threads at most: they are counted in the bits of a word.
const MAX_THREADS: usize = 64;

/// Sets up a [`Handle`].
#[derive(Clone, Debug)]
#[must_use = "a handle is made by `build`"]
pub struct HandleBuilder {
    threads: usize,
    depth: u32,
    memory: u64,
    queue: Option<usize>,
    huge_pages: bool,
    engine: EngineBuilder,
}

impl Default for HandleBuilder {
    fn default() -> HandleBuilder {
        HandleBuilder {
            threads: 1,
            depth: 256,
            memory: 256 << 20,
            queue: None,
            huge_pages: true,
            engine: Engine::builder(),
        }
    }
}

impl HandleBuilder {
    /// How many I/O threads there are, 1 to 64; 1 unless told. One is enough until it is busy all
    /// the time: a request costs it a few microseconds. Requests take turns between them.
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count.clamp(1, MAX_THREADS);
        self
    }

    /// How many requests each I/O thread may have in flight, 1 to 32768; 256 unless told.
    pub fn depth(mut self, requests: u32) -> Self {
        self.depth = requests.clamp(1, 1 << 15);
        self
    }

    /// How many bytes the buffers of all requests in flight may have together, 1 to 2^40 - 1; 256
    /// MiB unless told. A request that would go beyond waits; one that is larger than this waits
    /// until nothing else is in flight, and goes alone.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes.clamp(1, MAX_BYTES);
        self
    }

    /// How many requests all I/O threads may have together, started or not, 1 to 4194302; `depth`
    /// for each thread unless told. What comes on top waits in the order in which it came. More
    /// than that lets I/O threads hold requests back on their side too, and evens out the turns of
    /// several threads.
    pub fn queue(mut self, requests: usize) -> Self {
        self.queue = Some(requests);
        self
    }

    /// What carries the requests out; [`Backend::Auto`](crate::Backend) unless told.
    pub fn backend(mut self, backend: BackendChoice) -> Self {
        self.engine = self.engine.backend(backend);
        self
    }

    /// How often the clock is read for the histograms of [`Stats`](crate::Stats); sampled unless
    /// told.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.engine = self.engine.timing(timing);
        self
    }

    /// Whether pools of 2 MiB and more, and bounce buffers, lie in huge pages where they can; on
    /// unless told. See [`EngineBuilder::huge_pages`].
    pub fn huge_pages(mut self, huge: bool) -> Self {
        self.huge_pages = huge;
        self.engine = self.engine.huge_pages(huge);
        self
    }

    /// Whether huge pages are advised for absent memory of the caller's that a read is to fill; off
    /// unless told. See [`EngineBuilder::advise_huge`].
    pub fn advise_huge(mut self, advise: bool) -> Self {
        self.engine = self.engine.advise_huge(advise);
        self
    }

    /// How long an I/O thread, when it ends, waits for requests that can't be cancelled; one second
    /// unless told. See [`Handle`].
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.engine = self.engine.drain_timeout(time);
        self
    }

    /// Starts the I/O threads, and waits until each has its engine.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::build`], from any of the threads; or that a thread can't be had.
    pub fn build(self) -> io::Result<Handle> {
        let engine = self.engine.depth(self.depth);
        // One that fails lets go those before it: they end without having begun.
        let ready = (0..self.threads)
            .map(|index| thread::start(index, engine.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let queue = self.queue.unwrap_or(self.threads * self.depth as usize);
        let admission = Admission::new(self.memory, (queue as u64).min(MAX_REQUESTS));
        let posts = ready.iter().map(|thread| thread.post.clone()).collect();
        let shared = Arc::new(Shared::new(
            admission,
            posts,
            ready[0].info.clone(),
            new_id(),
        ));
        ready
            .into_iter()
            .for_each(|thread| thread.begin(shared.clone()));
        Ok(Handle {
            owner: Arc::new(Owner { shared }),
            pages: Pages::by_choice(self.huge_pages),
        })
    }
}
