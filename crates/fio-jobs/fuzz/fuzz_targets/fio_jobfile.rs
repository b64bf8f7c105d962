//! Any bytes as a job file: no panic, and what is accepted is the same jobs when it is printed and
//! read again. Its requests can be made, too.
//!
//! With a nightly toolchain and cargo-fuzz, the profiles being where it starts from:
//!
//! ```sh
//! cargo +nightly fuzz run --fuzz-dir crates/fio-jobs/fuzz fio_jobfile \
//!     crates/fio-jobs/fuzz/corpus fio-profiles -- \
//!     -dict=crates/fio-jobs/fuzz/fio_jobfile.dict -max_len=4096
//! ```

#![no_main]

use std::path::Path;

use fio_jobs::random::Course;
use fio_jobs::{Found, Job, JobFile, Surroundings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let surroundings = Surroundings::isolated();
    let file = match JobFile::parse_bytes(Path::new("fuzzed.fio"), bytes, &surroundings) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let printed = file.to_string();
    let again = JobFile::parse("printed.fio", &printed, &surroundings);
    assert_eq!(again.as_ref(), Ok(&file), "{printed}");
    // The first jobs are enough, and few files: the rest is more of the same.
    for job in file.jobs().take(3).filter(|job| job.options.nrfiles <= 16) {
        requests_of(job);
    }
});

fn requests_of(job: &Job) {
    let files = job.files(0).len();
    // Nothing, a file of 1 MiB, a device of 1 MiB and a bit, and so on.
    let kinds = [
        Found::Nothing,
        Found::File(1 << 20),
        Found::Device((1 << 20) + 1000),
    ];
    let existing: Vec<Found> = kinds.into_iter().cycle().take(files).collect();
    let seed = job.seed(0, 1);
    let Ok(regions) = job.regions(0, &existing, seed) else {
        return;
    };
    assert_eq!(regions.len(), files);
    let _ = job.io_bytes(&regions);
    // A map of blocks takes memory and time to make; a fuzzer has better uses for both.
    if regions
        .iter()
        .any(|region| region.bytes / job.options.min_block() > 1 << 20)
    {
        return;
    }
    let Ok(mut course) = Course::new(job, &regions, seed) else {
        return;
    };
    for request in course.by_ref().take(200) {
        let region = regions[request.file];
        assert!(request.bytes > 0 && request.bytes <= job.options.max_block());
        assert!(request.offset >= region.offset);
        assert!(request.offset + request.bytes <= region.file_bytes);
        assert!(if request.write {
            job.options.mode.writes()
        } else {
            job.options.mode.reads()
        });
    }
}
