//! Engines for tests: which back ends to run, and how to make one.

use nofault::{Backend, BackendKind, Engine};
use std::time::Duration;

/// The back ends to test: both, or the one that `NOFAULT_BACKEND` names.
pub(crate) fn backends() -> Vec<Backend> {
    match std::env::var("NOFAULT_BACKEND").as_deref() {
        Ok("uring") => vec![Backend::Uring],
        Ok("threads") => vec![Backend::Threads],
        Ok("") | Err(_) => vec![Backend::Uring, Backend::Threads],
        Ok(other) => panic!("NOFAULT_BACKEND is uring or threads, not {other}"),
    }
}

/// An engine over the back end, and never over another one.
pub(crate) fn engine(backend: Backend) -> Engine {
    engine_with_depth(backend, 64)
}

/// As `engine`, with a number of requests in flight.
pub(crate) fn engine_with_depth(backend: Backend, depth: u32) -> Engine {
    let engine = Engine::builder()
        .backend(backend)
        .depth(depth)
        .drain_timeout(Duration::from_secs(2))
        .build();
    let engine = engine.unwrap_or_else(|error| panic!("an engine over {backend:?}: {error}"));
    assert_eq!(
        engine.info().backend,
        kind(backend),
        "{:?}",
        engine.info().reason
    );
    engine
}

/// The back end that `Engine::info` is to name.
pub(crate) fn kind(backend: Backend) -> BackendKind {
    match backend {
        Backend::Threads => BackendKind::Threads,
        _ => BackendKind::Uring,
    }
}

/// A limit for what must not hang; far above what it takes on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);
