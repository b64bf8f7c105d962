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

use libfuzzer_sys::fuzz_target;
use fio_jobs::random::Requests;
use fio_jobs::{Job, JobFile, Surroundings};

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
    // Files of 1 MiB, of which every other one is there.
    let existing: Vec<Option<u64>> = (0..files)
        .map(|file| (file % 2 == 0).then_some(1 << 20))
        .collect();
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
    let Ok(mut requests) = Requests::new(&job.options, &regions, seed) else {
        return;
    };
    for _ in 0..2 {
        for request in requests.by_ref().take(100) {
            let region = regions[request.file];
            assert!(request.bytes > 0 && request.bytes <= job.options.max_block());
            assert!(
                request.offset >= region.offset && request.offset + request.bytes <= region.end()
            );
            assert!(if request.write {
                job.options.mode.writes()
            } else {
                job.options.mode.reads()
            });
        }
        requests.next_pass();
    }
}
