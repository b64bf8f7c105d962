//! Job files as people write them, in `tests/corpus`: real fio runs each, and makes as many
//! requests as we say, at the same offsets where the job file leaves no choice.

mod fio_common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use fio_jobs::random::{Course, Request};
use fio_jobs::{BlockSize, Found, Job, JobFile, Options, PerDirection, Surroundings};

use fio_common::{real_fio, run};

/// One worker of a job: what fio has reported, and what we say.
struct Compared {
    name: String,
    options: Options,
    /// Reads and writes that fio has reported.
    fio: [u64; 2],
    /// The requests in fio's log: file, whether it writes, offset, bytes. None where several
    /// workers share a log.
    log: Option<Vec<(String, bool, u64, u64)>>,
    files: Vec<PathBuf>,
    course: Course,
}

fn corpus() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = fs::read_dir(dir).expect("the corpus");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 35, "{paths:?}");
    paths
}

/// The job file for fio: with a log of the requests for each section, and a report for each worker.
fn for_fio(text: &[u8]) -> Vec<u8> {
    let (mut out, mut sections) = (Vec::new(), 0);
    for line in text.split(|&byte| byte == b'\n') {
        if line.starts_with(b"group_reporting") {
            continue;
        }
        out.extend_from_slice(line);
        out.push(b'\n');
        if line.starts_with(b"[") && !line.starts_with(b"[global") {
            out.extend_from_slice(format!("write_iolog=requests.{sections}\n").as_bytes());
            sections += 1;
        }
    }
    out
}

/// The reads and writes in a log of fio's, version 2 or 3.
fn log(path: &Path) -> Vec<(String, bool, u64, u64)> {
    let text = fs::read_to_string(path).expect("a log of requests");
    let request = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if text.starts_with("fio version 3") && words.len() > 1 {
            words.remove(0);
        }
        let [file, direction @ ("read" | "write"), offset, bytes] = words[..] else {
            return None;
        };
        let number = |word: &str| word.parse().expect("a number");
        Some((
            file.to_owned(),
            direction == "write",
            number(offset),
            number(bytes),
        ))
    };
    text.lines().filter_map(request).collect()
}

/// The course of each worker, with the files as the jobs before have made them: fio makes those of
/// all jobs before it starts the first one.
fn courses(file: &JobFile) -> Vec<(&Job, Vec<PathBuf>, Course)> {
    let mut sizes: HashMap<PathBuf, u64> = HashMap::new();
    let mut courses = Vec::new();
    for job in file.jobs() {
        for clone in 0..job.options.numjobs {
            let (files, seed) = (job.files(clone), job.seed(clone, 1));
            let found =
                |file: &PathBuf| sizes.get(file).map_or(Found::Nothing, |&b| Found::File(b));
            let found: Vec<Found> = files.iter().map(found).collect();
            let regions = job.regions(clone, &found, seed).expect("regions");
            for (file, region) in files.iter().zip(&regions) {
                let size = sizes.entry(file.clone()).or_default();
                *size = (*size).max(region.end());
            }
            courses.push((
                job,
                files,
                Course::new(job, &regions, seed).expect("requests"),
            ));
        }
    }
    courses
}

/// What fio made of the file; or why that can't be told here.
fn compare(fio: &Path, path: &Path) -> Result<Vec<Compared>, String> {
    let text = fs::read(path).expect("a job file");
    let file = JobFile::parse_bytes(path, &text, &Surroundings::isolated())
        .unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    fs::write(dir.path().join("corpus.fio"), for_fio(&text)).expect("written");
    let arguments = ["--output-format=json", "--output=report.json", "corpus.fio"];
    let output = run(fio, dir.path(), &arguments);
    let report = fs::read_to_string(dir.path().join("report.json")).unwrap_or_default();
    let said = format!("{report}{}", String::from_utf8_lossy(&output.stderr));
    let json = report
        .find('{')
        .map(|start| &report[start..])
        .unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let jobs = report["jobs"].as_array().cloned().unwrap_or_default();
    if !output.status.success() || jobs.iter().any(|job| job["error"] != 0) {
        // Not the job file's fault: a kernel without io_uring, a filesystem without O_DIRECT.
        if said.contains("io_uring") || said.contains("O_DIRECT") || said.contains("io_setup") {
            return Err(said.lines().next().unwrap_or_default().to_owned());
        }
        panic!("fio fails on {}: {said}", path.display());
    }
    let courses = courses(&file);
    assert_eq!(jobs.len(), courses.len(), "{}: {said}", path.display());
    let sections: Vec<(u32, u32)> = file
        .jobs()
        .map(|job| (job.line, job.options.numjobs))
        .collect();
    let compared = courses
        .into_iter()
        .zip(&jobs)
        .map(|((job, files, course), reported)| {
            let count = |side: &str| reported[side]["total_ios"].as_u64().expect("a count");
            let section = sections
                .iter()
                .position(|&(line, _)| line == job.line)
                .expect("a section");
            let alone = job.options.numjobs == 1;
            Compared {
                name: format!("{}: [{}]", path.display(), job.section),
                options: job.options.clone(),
                fio: [count("read"), count("write")],
                log: alone.then(|| log(&dir.path().join(format!("requests.{section}")))),
                files,
                course,
            }
        });
    Ok(compared.collect())
}

impl Compared {
    fn is_timed(&self) -> bool {
        self.options.runtime.is_some()
    }

    fn is_mixed(&self) -> bool {
        self.options.mode.reads() && self.options.mode.writes()
    }

    fn has_one_size(&self) -> bool {
        let PerDirection { read, write } = &self.options.block;
        let fixed = |block: &BlockSize| matches!(block, BlockSize::Fixed(_));
        fixed(read) && fixed(write) && (!self.is_mixed() || read == write)
    }

    /// As many requests as in fio; about as many where their sizes are random.
    fn counts(&self) {
        if self.is_timed() {
            return;
        }
        let ours: Vec<Request> = self.course.clone().collect();
        let writes = ours.iter().filter(|request| request.write).count() as u64;
        // fio counts what it reads to verify with the other reads.
        let verifies = self.options.verify.is_some() && self.options.mode.writes();
        let (ours, fio) = if verifies {
            (writes, self.fio[1])
        } else {
            (ours.len() as u64, self.fio[0] + self.fio[1])
        };
        // fio's own numbers of requests are that far apart with different seeds.
        let spread = if self.has_one_size() {
            0
        } else {
            fio * 35 / 100
        };
        assert!(
            ours.abs_diff(fio) <= spread,
            "{}: {ours} requests, fio {fio}",
            self.name
        );
    }

    /// The same offsets as in fio, where nothing is random.
    fn offsets(&self) -> bool {
        let random = self.options.mode.is_random() || self.is_mixed() || !self.has_one_size();
        let Some(log) = self.log.as_ref().filter(|_| !random) else {
            return false;
        };
        let written = self.options.mode.writes();
        let fio: Vec<_> = log.iter().filter(|request| request.1 == written).collect();
        let mut ours = self.course.clone();
        for (at, (file, write, offset, bytes)) in fio.iter().enumerate() {
            let request = ours
                .next()
                .unwrap_or_else(|| panic!("{}: only {at}", self.name));
            let name = self.files[request.file].to_str().expect("a plain name");
            // fio puts a ./ where the job has a directory.
            let same = file.trim_start_matches("./") == name.trim_start_matches("./");
            assert_eq!(
                (same, request.write, request.offset, request.bytes),
                (true, *write, *offset, *bytes),
                "{}: request {at}, {file}, {name}",
                self.name
            );
        }
        true
    }
}

#[test]
fn fio_makes_as_many_requests_as_we_say_at_the_same_offsets() {
    let test = "fio_makes_as_many_requests_as_we_say_at_the_same_offsets";
    let Some(fio) = real_fio(test) else { return };
    let mut offsets = 0;
    for path in corpus() {
        match compare(&fio, &path) {
            Ok(jobs) => {
                for job in jobs {
                    job.counts();
                    offsets += u32::from(job.offsets());
                }
            }
            Err(why) => println!("SKIP {test}: {}: {why}", path.display()),
        }
    }
    assert!(
        offsets >= 15,
        "only {offsets} jobs leave no choice of offsets"
    );
}

#[test]
fn every_job_file_is_read_and_prints_as_the_same_jobs() {
    for path in corpus() {
        let text = fs::read(&path).expect("a job file");
        assert!(
            text.starts_with(b"#") || text.starts_with(b";"),
            "{}",
            path.display()
        );
        let file = JobFile::parse_bytes(&path, &text, &Surroundings::isolated())
            .unwrap_or_else(|error| panic!("{error}"));
        let again = JobFile::parse("printed.fio", &file.to_string(), &Surroundings::isolated());
        assert_eq!(again.as_ref(), Ok(&file), "{file}");
    }
}

/// The five that were once read or carried out in another way than fio does, by their numbers.
#[test]
fn the_numbers_of_requests_are_those_of_fio() {
    for (name, expected) in [
        ("filesize-with-offset", &[128][..]),
        ("last-partial-block", &[7, 2, 24]),
        ("files-with-a-rest", &[250]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/{name}.fio"));
        let file = JobFile::read(&path, &Surroundings::isolated()).expect("a job file");
        let counts: Vec<usize> = courses(&file)
            .into_iter()
            .map(|(_, _, course)| course.count())
            .collect();
        assert_eq!(counts, expected, "{name}");
    }
}
