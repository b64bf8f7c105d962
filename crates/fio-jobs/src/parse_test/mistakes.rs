//! Reports, options without effect, what is refused, limits, printing.

use super::*;

#[test]
fn reports() {
    let options = options(
        "description=what it is for\ngroup_reporting\nlat_percentiles=1\nclat_percentiles=0\nslat_percentiles=1\npercentile_list=99.5:99.9\nloops=0\nthread",
    );
    assert_eq!(options.description.as_deref(), Some("what it is for"));
    assert!(
        options.group_reporting
            && options.lat_percentiles
            && !options.clat_percentiles
            && options.slat_percentiles
            && options.thread
    );
    assert_eq!((options.percentiles, options.loops), (vec![99.5, 99.9], 1));
    refused("percentile_list=50:101", ErrorKind::Value, "up to 100");
    refused("percentile_list=0", ErrorKind::Value, "above 0");
    refused(
        &format!("percentile_list={}", ["50"; 21].join(":")),
        ErrorKind::Value,
        "more than 20",
    );
}

#[test]
fn options_without_an_effect_are_warned_of_and_kept() {
    let file = read(
        "[global]\nwrite_bw_log\nlog_avg_msec=500\ncpus_allowed=0-3\n[a]\ncpus_allowed=1\n[b]\ndisk_util=0",
    );
    let kept = |job: &Job| {
        job.options
            .fio_only
            .iter()
            .map(|option| (option.name, option.value.clone()))
            .collect::<Vec<_>>()
    };
    let value = |text: &str| Some(text.to_owned());
    let jobs: Vec<&Job> = file.jobs().collect();
    assert_eq!(
        kept(jobs[0]),
        [
            ("write_bw_log", None),
            ("log_avg_msec", value("500")),
            ("cpus_allowed", value("1"))
        ]
    );
    assert_eq!(kept(jobs[1])[3], ("disk_util", value("0")));
    // Each where it was given, and not again where it is inherited.
    let lines: Vec<(u32, &str)> = file
        .warnings
        .iter()
        .map(|warning| (warning.place.line, warning.option.as_deref().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            (2, "write_bw_log"),
            (3, "log_avg_msec"),
            (4, "cpus_allowed"),
            (6, "cpus_allowed")
        ]
    );
}

#[test]
fn options_that_would_have_an_effect_are_refused_unless_they_say_what_holds_anyway() {
    for (fine, not) in [
        ("zonemode=none", "zonemode=zbd"),
        ("exitall=0", "exitall"),
        ("continue_on_error=none", "continue_on_error=all"),
        ("file_service_type=roundrobin", "file_service_type=random:8"),
        ("pre_read=0", "pre_read=1"),
        ("fill_fs=0", "fill_device=1"),
        ("allow_file_create=1", "allow_file_create=0"),
    ] {
        assert_eq!(options(fine), Options::default());
        refused(not, ErrorKind::Unsupported, "is offered here");
    }
    for not in [
        "exec_prerun=rm -rf /",
        "read_iolog=x",
        "opendir=/",
        "uid=0",
        "cpuload=50",
        "ignore_error=EIO",
        "steadystate=iops:2",
    ] {
        refused(not, ErrorKind::Unsupported, "is not offered here");
    }
}

// ---- what is wrong

#[test]
fn an_unknown_option_names_file_line_and_the_nearest_one() {
    let error = parse("[job]\n  iodpeth=4\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "test.fio:2:11: iodpeth: is no option of fio's; did you mean iodepth?"
    );
    assert_eq!(
        (
            error.kind,
            error.place.line,
            error.place.column,
            error.nearest
        ),
        (ErrorKind::UnknownOption, 2, 11, Some("iodepth"))
    );
    for (written, meant) in [
        ("block_size=4k", "blocksize"),
        ("Size=4k", "size"),
        ("num_jobs=2", "numjobs"),
        ("io-engine=x", "ioengine"),
        ("stonewal", "stonewall"),
        ("readwrte=rw", "readwrite"),
    ] {
        assert_eq!(
            parse(&format!("[j]\n{written}")).unwrap_err().nearest,
            Some(meant),
            "{written}"
        );
    }
    assert_eq!(parse("[j]\nbananas=1").unwrap_err().nearest, None);
}

#[test]
fn what_is_no_job_file_is_an_error_with_its_line() {
    for (text, expected) in [
        ("", "test.fio: there is no job in it"),
        ("[global]\nbs=4k", "test.fio: there is no job in it"),
        (
            "bs=4k\n[a]",
            "test.fio:1:4: bs: stands before the first section",
        ),
        (
            "[a]\ntwo words",
            "test.fio:2: \"two words\" is no option: write name=value",
        ),
        (
            "[a\n",
            "test.fio:1: a section is a name in brackets, and nothing else in the line",
        ),
        ("[]", "test.fio:1: a section needs a name"),
        ("[a]\n=4", "test.fio:2: there is no name before the ="),
        ("[a]\nb\u{1}s=4k", "test.fio:2: '\\u{1}' can't stand here"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected);
    }
    let error = JobFile::parse_bytes(Path::new("x"), b"[a]\n\xff=1", &Surroundings::isolated())
        .unwrap_err();
    assert_eq!(error.to_string(), "x:2: this is no UTF-8 text");
    let error =
        JobFile::read(Path::new("/nonexistent/x.fio"), &Surroundings::isolated()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreadable);
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/x.fio: can't be read: "),
        "{error}"
    );
}

#[test]
fn everything_has_a_limit() {
    let limit = |text: &str| {
        assert_eq!(
            parse(text).expect_err("beyond the limit").kind,
            ErrorKind::Limit
        )
    };
    let comment = format!("{}\n", ";".repeat(1023)).repeat(MAX_TEXT_BYTES / 1024);
    assert!(parse(&format!("{}[a]", &comment[3..])).is_ok());
    limit(&format!("{}[a]", &comment[2..]));
    limit(&format!("[a]\ndescription={}", "x".repeat(MAX_LINE_BYTES)));
    assert!(parse(&"[a]\n".repeat(MAX_SECTIONS)).is_ok());
    limit(&"[a]\n".repeat(MAX_SECTIONS + 1));
    assert_eq!(
        read("[a]\nnumjobs=4000\n[b]\nnumjobs=96").workers(),
        MAX_WORKERS
    );
    limit("[a]\nnumjobs=4000\n[b]\nnumjobs=97");
    refused("numjobs=4097", ErrorKind::Value, "at most 4096");
    refused("numjobs=0", ErrorKind::Value, "at least 1");
    limit(&format!("[{}]", "x".repeat(256)));
    // Warnings are kept up to a number, and the last one says so.
    let warnings = read(&format!("[a]\n{}", "nice=1\n".repeat(2000))).warnings;
    assert_eq!(
        (warnings.len(), warnings[MAX_WARNINGS - 2].place.line),
        (MAX_WARNINGS, 1000)
    );
    assert!(warnings[MAX_WARNINGS - 1].message.contains("left out"));
    // Small as it is written, large when nothing is inherited; and a line that grows by what is
    // added to it.
    limit(&format!(
        "[global]\ndescription={}\n{}",
        "x".repeat(8000),
        "[a]\n".repeat(1000)
    ));
    limit(&format!(
        "[a]\n{}",
        format!("filename={}\n", "x".repeat(5000)).repeat(2)
    ));
}

#[test]
fn the_same_file_read_twice_is_equal_wherever_its_lines_are() {
    let a = read("[global]\nbs=8k\n[a]\nrw=randread\n");
    let b = read("\n\n[a]\nbs=8192\nreadwrite=randread");
    assert_eq!(a, b);
    assert_ne!(a, read("[a]\nbs=8k\nrw=randwrite"));
    assert_ne!(a, read("[b]\nbs=8k\nrw=randread"));
    assert_ne!(read("[a]\n[b]\n"), read("[a]\n[b]\nstonewall"));
}

#[test]
fn a_job_prints_only_what_is_not_the_default() {
    let file = read(
        "[global]\nrw=randrw\nrwmixwrite=30\nbs=8k,1m\ndirect=1\nioengine=io_uring\niodepth=32\nruntime=1m\ntime_based\nsize=256m\n[mixed]\nname=mix\nfixedbufs\n",
    );
    let expected = "[mixed]\nname=mix\nsize=256m\nrw=randrw\nrwmixread=70\nbs=8k,1m\ndirect=1\nioengine=io_uring\niodepth=32\nfixedbufs=1\nruntime=60s\ntime_based=1\n";
    assert_eq!(file.to_string(), expected);
    assert_eq!(read("[plain]").to_string(), "[plain]\n");
}

/// fio 3.33 reads the same from all of these.
#[test]
fn words_behind_a_value_are_ignored_with_a_warning() {
    for (with, without) in [
        ("bs=4k bytes", "bs=4k"),
        ("bs=4k,8k words", "bs=4k,8k"),
        ("bs=8192 bytes", "bs=8192"),
        ("size=1g total", "size=1g"),
        ("size=50% of it", "size=50%"),
        ("offset=20% x", "offset=20%"),
        ("iodepth=1 deep", "iodepth=1"),
        ("numjobs=4 jobs", "numjobs=4"),
        ("direct=1 yes", "direct=1"),
        ("time_based=0 no", "time_based=0"),
        ("rw=randread:8 x", "rw=randread:8"),
        ("runtime=60 seconds", "runtime=60"),
        ("runtime=60 s", "runtime=60"),
        ("ramp_time=5 secs", "ramp_time=5"),
        ("thinktime=10ms x", "thinktime=10ms"),
        ("rwmixread=70 percent", "rwmixread=70"),
        ("bsrange=4k-16k x", "bsrange=4k-16k"),
        ("bssplit=4k/50:8k/50 x", "bssplit=4k/50:8k/50"),
        ("rate=1m,500k x", "rate=1m,500k"),
        ("rate_iops=100 iops", "rate_iops=100"),
        ("loops=2 times", "loops=2"),
        ("nrfiles=3 files", "nrfiles=3"),
        ("filesize=1m each", "filesize=1m"),
        (
            "random_distribution=zipf:1.2 x",
            "random_distribution=zipf:1.2",
        ),
        ("percentile_list=50:99 x", "percentile_list=50:99"),
        ("number_ios=10 x", "number_ios=10"),
    ] {
        let text = |lines: &str| format!("[x]\nsize=1m\n{lines}\n");
        assert_eq!(read(&text(with)), read(&text(without)), "{with}");
        let warnings = warnings(&text(with));
        assert!(
            warnings
                .iter()
                .any(|warning| warning.contains("words behind the value")),
            "{with}: {warnings:?}"
        );
    }
}

/// fio 3.33 reads something else from these than what is written.
#[test]
fn words_behind_a_value_that_fio_misreads_are_an_error() {
    for lines in [
        "bs=4 k",
        "bs=4 KiB",
        "size=1 gigabyte",
        "size=50 %",
        "size=12.5%",
        "runtime=5 minutes",
        "runtime=500 ms",
        "runtime=60s long",
        "thinktime=10 ms",
        "rwmixread=70%",
        "rw=randread yes",
        "sync=1 x",
        "verify=crc32c x",
    ] {
        refused(&format!("size=1m\n{lines}"), ErrorKind::Value, "");
    }
}
