//! What is measured on and with: the file, the machine, the engine, a plain ring, signals.
//!
//! May know: nofault's public API, the system, [`figures`](crate::figures) for its messages. Must
//! not know: any command, how an answer is shown.

pub(crate) mod engine;
pub(crate) mod facts;
pub(crate) mod interrupt;
pub(crate) mod machine;
pub(crate) mod options;
pub(crate) mod ring;
pub(crate) mod scratch;
