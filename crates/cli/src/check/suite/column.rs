//! The ways of doing I/O that are compared.

use nofault::Backend;

/// A way of doing I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// This library.
    Nofault,
    /// io_uring with O_DIRECT, as people write it.
    Ring,
    /// pread(2) and pwrite(2) with O_DIRECT.
    Direct,
    /// pread(2) and pwrite(2) through the page cache.
    Buffered,
}

impl Column {
    /// In the order of the table.
    pub(crate) const ALL: [Column; 4] = [
        Column::Nofault,
        Column::Ring,
        Column::Direct,
        Column::Buffered,
    ];

    /// The heading.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Column::Nofault => "nofault",
            Column::Ring => "io_uring",
            Column::Direct => "pread",
            Column::Buffered => "buffered",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|column| column.name() == name)
    }
}

/// The names of the engine's back ends on the command line.
pub(crate) fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Uring => "uring",
        Backend::Threads => "threads",
        _ => "auto",
    }
}

pub(crate) fn backend_from_name(name: &str) -> Option<Backend> {
    [Backend::Auto, Backend::Uring, Backend::Threads]
        .into_iter()
        .find(|backend| backend_name(*backend) == name)
}
