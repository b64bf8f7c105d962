//! Prints the requests that the jobs of a job file ask for, one in a line: the job, `read` or
//! `write`, the file, the offset and the size in bytes.
//!
//! `cargo run -p fio-jobs --example requests -- JOBFILE [REQUESTS]`: so many of each worker, 20
//! without a number. Nothing is opened but the job file; the files it names are looked at for their
//! sizes.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use fio_jobs::random::Course;
use fio_jobs::{Found, JobFile, Surroundings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which job file?")?;
    let most = arguments.next().map_or(Ok(20), |number| number.parse())?;
    let file = JobFile::read(Path::new(&path), &Surroundings::system())?;
    for warning in &file.warnings {
        writeln!(io::stderr(), "{warning}")?;
    }
    let mut out = io::stdout().lock();
    for job in file.jobs() {
        for clone in 0..job.options.numjobs {
            let files = job.files(clone);
            let found: Vec<Found> = files.iter().map(|path| look(path)).collect();
            // A job with randrepeat=0 has other requests for another number than 0.
            let seed = job.seed(clone, 0);
            let regions = job.regions(clone, &found, seed)?;
            for request in Course::new(job, &regions, seed)?.take(most) {
                let direction = if request.write { "write" } else { "read" };
                let file = files[request.file].display();
                let (name, offset, bytes) = (&job.name, request.offset, request.bytes);
                writeln!(out, "{name} {direction} {file} {offset} {bytes}")?;
            }
        }
    }
    Ok(())
}

/// What is there: a regular file, or nothing that this example knows the size of.
fn look(path: &Path) -> Found {
    match path.metadata() {
        Ok(found) if found.is_file() => Found::File(found.len()),
        _ => Found::Nothing,
    }
}
