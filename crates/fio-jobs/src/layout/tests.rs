use super::*;
use crate::{JobFile, Surroundings};

const K: u64 = 1024;

fn job(text: &str) -> Job {
    let file = JobFile::parse(
        "test.fio",
        &format!("[j]\n{text}"),
        &Surroundings::isolated(),
    )
    .unwrap();
    file.groups[0].jobs[0].clone()
}

fn regions(text: &str, existing: &[Option<u64>]) -> Result<Vec<(u64, u64)>, LayoutError> {
    let found: Vec<Found> = existing
        .iter()
        .map(|bytes| bytes.map_or(Found::Nothing, Found::File))
        .collect();
    let regions = job(text).regions(0, &found, 1)?;
    Ok(regions
        .iter()
        .map(|region| (region.offset, region.bytes))
        .collect())
}

#[test]
fn files_are_named_as_fio_names_them() {
    let names = |text: &str, clone| {
        job(text)
            .files(clone)
            .iter()
            .map(|path| path.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("size=1m\nnumjobs=2", 1), ["j.1.0"]);
    assert_eq!(
        names("size=1m\nname=other\nnrfiles=2", 0),
        ["j.0.0", "j.0.1"]
    );
    assert_eq!(names("size=1m\ndirectory=a:b\nnumjobs=3", 1), ["b/j.1.0"]);
    assert_eq!(names("size=1m\ndirectory=a:b\nnumjobs=3", 2), ["a/j.2.0"]);
    assert_eq!(
        names("size=1m\nfilename_format=x.$jobnum.$filenum", 0),
        ["x.0.0"]
    );
    assert_eq!(
        names("size=1m\nfilename=x:y\\:z\ndirectory=d:e\nnrfiles=7", 1),
        ["d/x", "d/y:z"]
    );
}

/// What fio 3.33 did with the same lines: the offsets of its requests, and the sizes of the
/// files that it left.
#[test]
fn regions_are_what_fio_makes_of_the_same_lines() {
    for (text, existing, expected) in [
        ("size=64k\noffset=16k", None, (16 * K, 64 * K)),
        ("size=64k\noffset=16k", Some(32 * K), (16 * K, 64 * K)),
        ("size=64k\noffset=16k", Some(128 * K), (16 * K, 64 * K)),
        ("offset=16k", Some(32 * K), (16 * K, 16 * K)),
        ("size=64k\noffset=50%", None, (0, 64 * K)),
        ("size=64k\noffset=50%", Some(128 * K), (64 * K, 64 * K)),
        ("size=64k\noffset=50%", Some(96 * K), (48 * K, 64 * K)),
        ("size=50%", Some(32 * K), (0, 16 * K)),
        ("size=50%\noffset=25%", Some(32 * K), (8 * K, 16 * K)),
        ("size=100%\noffset=25%", Some(32 * K), (8 * K, 24 * K)),
        ("filesize=64k\nsize=16k", None, (0, 64 * K)),
        ("size=30k", None, (0, 30 * K)),
        ("filesize=64k\noffset=16k", None, (16 * K, 48 * K)),
        ("filesize=64k\noffset=16k", Some(128 * K), (16 * K, 48 * K)),
        ("filesize=64k\noffset=16k", Some(32 * K), (16 * K, 48 * K)),
        (
            "filesize=64k-128k\noffset=16k",
            Some(96 * K),
            (16 * K, 80 * K),
        ),
        ("filesize=64k\nsize=50%", None, (0, 32 * K)),
        ("filesize=64k\nsize=50%\noffset=16k", None, (16 * K, 32 * K)),
        ("filesize=64k\noffset=25%", None, (0, 64 * K)),
        ("filesize=64k\noffset=25%", Some(128 * K), (32 * K, 32 * K)),
        ("filesize=64k\noffset=25%", Some(64 * K), (16 * K, 48 * K)),
        ("size=50%\noffset=75%", Some(64 * K), (48 * K, 16 * K)),
        ("size=80%\noffset=25%", Some(64 * K), (16 * K, 48 * K)),
        ("size=33%", Some(64 * K), (0, 20 * K)),
        ("offset=10%", Some(64 * K), (8 * K, 56 * K)),
        (
            "offset=10%\noffset_align=1k\nsize=16k",
            Some(64 * K),
            (7 * K, 16 * K),
        ),
        ("size=0", Some(32 * K), (0, 32 * K)),
    ] {
        assert_eq!(
            regions(&format!("filename=f\n{text}"), &[existing]),
            Ok(vec![expected]),
            "{text} {existing:?}"
        );
    }
    assert_eq!(
        regions("nrfiles=3\nsize=64k", &[None; 3]),
        Ok(vec![(0, 21845); 3])
    );
    assert_eq!(
        regions("nrfiles=3\nfilesize=16k", &[None; 3]),
        Ok(vec![(0, 16 * K); 3])
    );
    let second = job("filename=f\nsize=16k\nnumjobs=2\noffset_increment=16k")
        .regions(1, &[], 1)
        .unwrap();
    assert_eq!(
        (second[0].offset, second[0].bytes, second[0].end()),
        (16 * K, 16 * K, 32 * K)
    );
}

/// What fio 3.33 did on a loop device of 66,000 KiB.
#[test]
fn of_a_device_there_is_no_more_than_it_has() {
    let device = 66_000 * K;
    for (text, offset, bytes) in [
        ("size=128m", 0, device),
        ("size=64m\noffset=32m", 32 * K * K, device - 32 * K * K),
        ("filesize=128m", 0, device),
        ("filesize=32m\noffset=8m", 8 * K * K, 24 * K * K),
        ("", 0, device),
        ("size=50%\nbs=64k", 0, 515 * 64 * K),
        ("offset=50%\nbs=64k", 516 * 64 * K, device - 516 * 64 * K),
    ] {
        let job = job(&format!("filename=f\n{text}"));
        let regions = job.regions(0, &[Found::Device(device)], 1).unwrap();
        assert_eq!(
            (regions[0].offset, regions[0].bytes),
            (offset, bytes),
            "{text}"
        );
        assert_eq!(regions[0].file_bytes, device);
    }
    let beyond = job("filename=f\nsize=16m\noffset=128m");
    assert!(matches!(
        beyond.regions(0, &[Found::Device(device)], 1),
        Err(LayoutError::TooSmall { bytes: 0, .. })
    ));
}

#[test]
fn an_increment_in_percent_is_rounded_up_to_a_block() {
    let job = job("filename=f\nsize=32k\noffset_increment=10%\nnumjobs=2");
    let regions = job.regions(1, &[Found::File(64 * K)], 1).unwrap();
    assert_eq!(regions[0].offset, 8 * K);
}

#[test]
fn what_is_left_over_makes_the_first_files_larger() {
    let job = job("nrfiles=1000\nbs=512\nsize=2001800");
    let regions = job.regions(0, &[], 1).unwrap();
    assert_eq!((regions[0].bytes, regions[1].bytes), (2001 + 512, 2001));
}

#[test]
fn the_amount_is_the_size_or_what_io_size_says() {
    for (text, expected) in [
        ("size=64k", 64 * K),
        ("size=64k\nio_size=32k", 32 * K),
        ("size=64k\nio_size=96k", 96 * K),
        ("size=64k\nio_size=50%", 32 * K),
        ("size=64k\nfilesize=32k", 32 * K),
        ("size=16k\nfilesize=64k", 16 * K),
    ] {
        let job = job(&format!("filename=f\n{text}"));
        assert_eq!(
            job.io_bytes(&job.regions(0, &[], 1).unwrap()),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_range_of_file_sizes_is_kept_and_repeatable() {
    let job = job("nrfiles=50\nfilesize=4k-64k");
    let regions = job.regions(0, &[], 7).unwrap();
    assert!(
        regions
            .iter()
            .all(|region| (4 * K..=64 * K).contains(&region.bytes) && region.bytes % (4 * K) == 0)
    );
    assert!(
        regions
            .iter()
            .any(|region| region.bytes != regions[0].bytes)
    );
    assert_eq!(job.regions(0, &[], 7).unwrap(), regions);
    assert_ne!(job.regions(0, &[], 8).unwrap(), regions);
}

#[test]
fn what_has_no_size_or_does_not_fit_is_an_error() {
    assert!(matches!(
        regions("filename=f", &[None]),
        Err(LayoutError::NoSize { .. })
    ));
    assert!(matches!(
        regions("filename=f\nsize=50%", &[]),
        Err(LayoutError::NoSize { .. })
    ));
    assert!(matches!(
        regions("filename=f\noffset=32k", &[Some(32 * K)]),
        Err(LayoutError::TooSmall { bytes: 0, .. })
    ));
    assert!(matches!(
        regions("nrfiles=3\nsize=8k", &[None; 3]),
        Err(LayoutError::TooSmall { .. })
    ));
    assert!(matches!(
        regions("filename=f\nsize=8191p\noffset=8191p", &[None]),
        Err(LayoutError::TooLarge { .. })
    ));
    let far = job("filename=f\nsize=1m\nnumjobs=4000\noffset_increment=8000p");
    assert!(matches!(
        far.regions(3999, &[], 1),
        Err(LayoutError::TooLarge { .. })
    ));
}
