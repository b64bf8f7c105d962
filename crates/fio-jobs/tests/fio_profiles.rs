//! The profiles in `fio-profiles`: we read each without a warning, real fio takes it as it is, and
//! it says on top what it shows.

mod fio_common;

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fio_jobs::random::Requests;
use fio_jobs::{IoEngine, JobFile, Surroundings};

use fio_common::{real_fio, run};

/// All profiles, read; none where the folder can't be reached, which only another user than the
/// builder's may say.
fn profiles(test: &str) -> Vec<(PathBuf, JobFile)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fio-profiles");
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("SKIP {test}: {} can't be reached", dir.display());
            return Vec::new();
        }
        entries => entries.expect("the folder"),
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 14, "{paths:?}");
    assert!(
        paths
            .iter()
            .all(|path| path.extension().is_some_and(|extension| extension == "fio")),
        "{paths:?}"
    );
    // Nothing is set: a profile needs no variable.
    let surroundings = Surroundings::system().variables(|_| None);
    let read = |path: PathBuf| {
        let file = JobFile::read(&path, &surroundings).unwrap_or_else(|error| panic!("{error}"));
        (path, file)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_profile_is_read_without_a_warning() {
    for (path, file) in profiles("every_profile_is_read_without_a_warning") {
        assert!(file.warnings.is_empty(), "{:?}", file.warnings);
        let again = JobFile::parse(&path, &file.to_string(), &Surroundings::isolated());
        assert_eq!(again.as_ref(), Ok(&file), "{file}");
    }
}

#[test]
fn every_profile_says_what_it_shows() {
    for (path, _) in profiles("every_profile_says_what_it_shows") {
        let text = fs::read_to_string(&path).expect("read");
        let comment = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .count();
        assert!((3..12).contains(&comment), "{}", path.display());
        assert!(
            !text.contains("${"),
            "{}: fio has no default for a variable",
            path.display()
        );
    }
}

/// Whoever runs a profile finds nothing of it afterwards, and nothing else of theirs is touched.
#[test]
fn files_are_the_profiles_own_and_removed_at_the_end() {
    for (path, file) in profiles("files_are_the_profiles_own_and_removed_at_the_end") {
        let (mut used, mut removed) = (HashSet::new(), HashSet::new());
        for job in file.jobs() {
            for name in (0..job.options.numjobs).flat_map(|clone| job.files(clone)) {
                let text = name.to_str().expect("a plain name").to_owned();
                assert!(
                    text.starts_with("nofault-") && text.ends_with(".tmp") && !text.contains('/'),
                    "{}: {text}",
                    path.display()
                );
                assert!(
                    !removed.contains(&text),
                    "{}: {text} is used after it was removed",
                    path.display()
                );
                if job.options.unlink {
                    removed.insert(text.clone());
                }
                used.insert(text);
            }
        }
        assert_eq!(used, removed, "{}", path.display());
    }
}

#[test]
fn every_profile_is_modest_and_has_a_direct_and_a_buffered_half() {
    for (path, file) in profiles("every_profile_is_modest_and_has_a_direct_and_a_buffered_half") {
        let direct: Vec<bool> = file.jobs().map(|job| job.options.direct).collect();
        assert_eq!(
            direct.iter().filter(|&&direct| direct).count() * 2,
            direct.len(),
            "{}",
            path.display()
        );
        for job in file.jobs() {
            let (name, options) = (path.display(), &job.options);
            // Only `direct` is to differ, so both halves are done by the same engine.
            assert_eq!(options.engine, IoEngine::IoUring, "{name}");
            assert!(
                options
                    .runtime
                    .is_none_or(|time| time <= Duration::from_secs(5)),
                "{name}"
            );
            let regions = job
                .regions(0, &[], job.seed(0, 0))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                regions.iter().map(|region| region.bytes).sum::<u64>() <= 1 << 30,
                "{name}"
            );
            assert!(
                options.max_block() * u64::from(options.depth) <= 128 << 20,
                "{name}"
            );
            let requests = Requests::new(options, &regions, job.seed(0, 0))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(requests.take(32).count(), 32, "{name}");
        }
    }
}

#[test]
fn real_fio_takes_every_profile_as_it_is_and_as_we_print_it() {
    let Some(fio) = real_fio("real_fio_takes_every_profile_as_it_is_and_as_we_print_it") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    for (path, file) in profiles("real_fio_takes_every_profile_as_it_is_and_as_we_print_it") {
        let output = run(
            &fio,
            dir.path(),
            &["--parse-only", path.to_str().expect("a plain name")],
        );
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}: {output:?}",
            path.display()
        );
        fs::write(dir.path().join("printed.fio"), file.to_string()).expect("written");
        let output = run(&fio, dir.path(), &["--parse-only", "printed.fio"]);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{file}: {output:?}"
        );
    }
}
