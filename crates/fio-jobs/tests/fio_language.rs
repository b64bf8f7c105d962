//! fio's job-file language from outside: whatever the bytes, the parser answers; what it accepts
//! survives being printed; and where real fio is installed, it reads the same as we do.

mod fio_common;

use std::fs;
use std::path::Path;

use fio_jobs::{BlockSize, JobFile, Options, Surroundings};
use proptest::prelude::*;

use fio_common::{real_fio, run};

/// What must hold for any bytes; the fuzz target checks the same.
fn check(bytes: &[u8]) -> bool {
    let surroundings = Surroundings::isolated();
    let Ok(file) = JobFile::parse_bytes(Path::new("any.fio"), bytes, &surroundings) else {
        return false;
    };
    let printed = file.to_string();
    let again = JobFile::parse("printed.fio", &printed, &surroundings);
    assert_eq!(again.as_ref(), Ok(&file), "{printed}");
    assert_eq!(again.unwrap().to_string(), printed);
    true
}

/// The names that are worth trying, and one that is none.
const NAMES: &[&str] = &[
    "rw",
    "readwrite",
    "bs",
    "blocksize",
    "bsrange",
    "bssplit",
    "bs_unaligned",
    "ba",
    "size",
    "io_size",
    "filesize",
    "offset",
    "offset_increment",
    "nrfiles",
    "runtime",
    "time_based",
    "ramp_time",
    "startdelay",
    "iodepth",
    "iodepth_batch",
    "iodepth_batch_complete_min",
    "iodepth_batch_complete_max",
    "iodepth_low",
    "numjobs",
    "direct",
    "buffered",
    "ioengine",
    "fsync",
    "fdatasync",
    "sync",
    "end_fsync",
    "rate",
    "rate_iops",
    "thinktime",
    "thinktime_spin",
    "thinktime_blocks",
    "random_distribution",
    "norandommap",
    "randrepeat",
    "randseed",
    "verify",
    "verify_pattern",
    "do_verify",
    "mem",
    "iomem",
    "iomem_align",
    "filename",
    "directory",
    "filename_format",
    "name",
    "description",
    "loops",
    "group_reporting",
    "new_group",
    "stonewall",
    "wait_for",
    "kb_base",
    "percentile_list",
    "hipri",
    "fixedbufs",
    "write_bw_log",
    "cpus_allowed",
    "rwmixread",
    "rwmixwrite",
    "rw_sequencer",
    "number_ios",
    "thread",
    "unlink",
    "nosuchoption",
];

fn a_value() -> impl Strategy<Value = String> {
    let number = (
        0u64..5000,
        prop::sample::select(vec!["", "k", "m", "kb", "kib", "%", "us", "ms", "s", "x"]),
    )
        .prop_map(|(n, unit)| format!("{n}{unit}"));
    let word = prop::sample::select(vec![
        "0",
        "1",
        "read",
        "randrw",
        "randread:8",
        "write:4k",
        "io_uring",
        "libaio",
        "psync",
        "zipf:1.2",
        "pareto:0.3:0.5",
        "normal:10",
        "crc32c",
        "pattern",
        "0xff%o\"abc\"-12",
        "mmap",
        "mmap:/tmp/x",
        "sync",
        "dsync",
        "identical",
        "a:b\\:c",
        "x$ncpus",
        "2*$ncpus",
        "${HOME}",
        "1k-4k",
        "1k-4k,2k-8k",
        "4k/10:64k/50:32k/40",
        "4k/50:1k/:32k/,8k/",
        "(4k*2)",
        "(1+2)m",
        "50:99.9",
        ",8k",
        "8k,",
        "1s-2s",
        "1000",
        "1024",
        "a",
        "  a",
    ]);
    prop_oneof![
        3 => number.clone(),
        4 => word.prop_map(str::to_owned),
        1 => (number.clone(), number).prop_map(|(a, b)| format!("{a},{b}")),
        1 => "[ -~]{0,20}",
    ]
}

fn a_line() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => prop::sample::select(vec!["[a]", "[b]", "[global]", "[a b]", "; c", "", "[globals]"]).prop_map(str::to_owned),
        6 => (prop::sample::select(NAMES), a_value()).prop_map(|(name, value)| format!("{name}={value}")),
        1 => prop::sample::select(NAMES).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn any_text_in_a_section_is_answered(text in "\\PC{0,300}") {
        check(format!("[a]\n{text}").as_bytes());
    }

    #[test]
    fn any_value_of_any_option_is_answered(name in prop::sample::select(NAMES), value in a_value()) {
        check(format!("[a]\nioengine=io_uring\n{name}={value}").as_bytes());
    }

    #[test]
    fn whatever_is_accepted_prints_as_the_same_jobs(lines in prop::collection::vec(a_line(), 1..12)) {
        // Lines that are refused would hide the others: they are left out one by one, until the
        // file is accepted or nothing is left.
        let mut lines = lines;
        lines.insert(0, "[first]".to_owned());
        while !check(lines.join("\n").as_bytes()) {
            let text = lines.join("\n");
            let error = JobFile::parse("any.fio", &text, &Surroundings::isolated()).expect_err("it was refused");
            prop_assert!(!error.to_string().is_empty());
            let at = (error.place.line as usize).clamp(2, lines.len().max(2)) - 1;
            if at >= lines.len() {
                break;
            }
            lines.remove(at);
        }
    }
}

/// The numbers as fio reads them, from what it prints when it is told to show its parser's work.
fn as_fio_reads_them(fio: &Path, given: &[(&str, String)]) -> Vec<u64> {
    let dir = tempfile::tempdir().expect("a folder");
    let text: String = given
        .iter()
        .map(|(option, value)| format!("[x]\n{option}={value}\n"))
        .collect();
    fs::write(dir.path().join("numbers.fio"), text).expect("written");
    let output = run(
        fio,
        dir.path(),
        &["--parse-only", "--debug=parse", "numbers.fio"],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What it says before the first section is about its own defaults.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text
        .lines()
        .skip_while(|line| !line.contains("Parsing section"));
    std::iter::from_fn(|| lines.find_map(|line| line.split_once("ret=0, out=")))
        .map(|(_, value)| value.trim().parse().expect("a number"))
        .collect()
}

fn as_we_read_it(option: &str, value: &str) -> Option<u64> {
    let file = JobFile::parse(
        "one.fio",
        &format!("[x]\nioengine=io_uring\nsize=1p\n{option}={value}\n"),
        &Surroundings::isolated(),
    )
    .ok()?;
    let options: &Options = &file.groups[0].jobs[0].options;
    match option {
        "bs" => match options.block.read {
            BlockSize::Fixed(bytes) => Some(bytes),
            _ => None,
        },
        "runtime" => Some(options.runtime.map_or(0, |time| time.as_micros() as u64)),
        "thinktime" => Some(options.thinktime.as_micros() as u64),
        _ => unreachable!("{option}"),
    }
}

/// Whatever we accept, fio reads as the same number. (What it misreads, we refuse.)
#[test]
fn numbers_mean_the_same_to_fio() {
    let Some(fio) = real_fio("numbers_mean_the_same_to_fio") else {
        return;
    };
    let units = [
        "", "b", "B", "k", "K", "ki", "Ki", "kib", "KiB", "kb", "kB", "m", "mb", "mi", "mib", "g",
        "gib", "x", "e", "kk", "ib",
    ];
    let times = [
        "", "us", "usec", "US", "ms", "msec", "s", "S", "m", "h", "d", "sec", "min", "x",
    ];
    let mut given = Vec::new();
    for number in ["1", "+3", "0x10"] {
        given.extend(units.iter().map(|unit| ("bs", format!("{number}{unit}"))));
    }
    for option in ["runtime", "thinktime"] {
        given.extend(times.iter().map(|unit| (option, format!("7{unit}"))));
    }
    given.extend([" 4", " 4k", "1.5k", "4 k", "4k ", "-4k"].map(|value| ("bs", value.to_owned())));
    given.retain(|(option, value)| as_we_read_it(option, value).is_some());
    assert!(
        given.len() > 50,
        "only {} values were accepted",
        given.len()
    );
    let theirs = as_fio_reads_them(&fio, &given);
    assert_eq!(theirs.len(), given.len());
    for ((option, value), theirs) in given.iter().zip(theirs) {
        assert_eq!(
            as_we_read_it(option, value),
            Some(theirs),
            "{option}={value}"
        );
    }
}

/// fio takes every file that we print.
#[test]
fn fio_reads_what_we_print() {
    let Some(fio) = real_fio("fio_reads_what_we_print") else {
        return;
    };
    let text = r#"
        [global]
        ioengine=io_uring
        iodepth=16
        iodepth_batch=4
        iodepth_batch_complete_min=2
        iodepth_batch_complete_max=8
        iodepth_low=3
        fixedbufs
        registerfiles
        hipri
        filename=a:b\:c
        size=10m
        direct=1
        [sizes]
        description=every way to give sizes
        rw=randrw:4
        rw_sequencer=identical
        rwmixread=30
        bs=4k,
        bsrange=,4k-16k
        io_size=20m
        offset=1m
        offset_increment=10%
        number_ios=100
        rate=1m,
        [split]
        stonewall
        name=another name
        rw=randread
        bssplit=4k/10:64k/50:32k/40,8k/100
        random_distribution=zipf:1.2:0.25
        norandommap
        randseed=5
        rate_iops=,200
        startdelay=1s-1500ms
        runtime=90s
        time_based
        ramp_time=500ms
        thinktime=10ms
        thinktime_spin=5
        thinktime_blocks=3
        [write]
        wait_for=sizes
        numjobs=2
        new_group
        rw=write:4k
        ioengine=libaio
        sync=dsync
        fsync=3
        fdatasync=2
        end_fsync=1
        verify=pattern
        verify_pattern=0xff%o"ab c"-12
        do_verify=0
        verify_fatal=1
        iomem=mmapshared:/tmp/x
        iomem_align=4k
        zero_buffers
        percentile_list=50:99.9:99.99
        lat_percentiles=1
        clat_percentiles=0
        loops=2
        unlink=1
        invalidate=0
        log_avg_msec=100
        write_bw_log
    "#;
    let file = JobFile::parse("all.fio", text, &Surroundings::isolated()).expect("a job file");
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("printed.fio"), file.to_string()).expect("written");
    let output = run(&fio, dir.path(), &["--parse-only", "printed.fio"]);
    assert!(output.status.success(), "{file}\n{output:?}");
}
