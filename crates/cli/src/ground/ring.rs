//! The plain ring that nofault is measured against.

use std::io;

use io_uring::IoUring;

/// The best ring the kernel has: DEFER_TASKRUN needs Linux 6.1, SINGLE_ISSUER 6.0.
pub(crate) fn negotiate(entries: u32) -> io::Result<IoUring> {
    let refused = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    match IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(entries)
    {
        Err(error) if refused(&error) => {
            match IoUring::builder().setup_single_issuer().build(entries) {
                Err(error) if refused(&error) => IoUring::new(entries),
                other => other,
            }
        }
        other => other,
    }
}
