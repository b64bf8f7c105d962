//! Job files as a whole: the idioms of fio's documentation, each family of options, and every way
//! in which a file can be wrong.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<JobFile, Error> {
    JobFile::parse("test.fio", text, &Surroundings::isolated())
}

/// Reads it, and checks that what it prints is read as the same jobs.
fn read(text: &str) -> JobFile {
    let file = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let printed = file.to_string();
    assert_eq!(
        parse(&printed).as_ref(),
        Ok(&file),
        "{text}\nprints as\n{printed}"
    );
    file
}

/// The options of the only job of a file with these lines.
fn options(lines: &str) -> Options {
    let mut file = read(&format!("[job]\n{lines}\n"));
    assert_eq!((file.groups.len(), file.groups[0].jobs.len()), (1, 1));
    file.groups.remove(0).jobs.remove(0).options
}

fn warnings(text: &str) -> Vec<String> {
    read(text).warnings.iter().map(Warning::to_string).collect()
}

/// The message for a job with these lines.
#[track_caller]
fn message(lines: &str) -> String {
    match parse(&format!("[job]\n{lines}\n")) {
        Ok(file) => panic!("{lines} is read as\n{file}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused(lines: &str, kind: ErrorKind, part: &str) {
    let error = parse(&format!("[job]\n{lines}\n")).expect_err(lines);
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

// ---- sections, inheritance, groups

#[test]
fn the_documentations_first_example() {
    let file = read(
        "; -- start job file --
         [global]
         rw=randread
         size=128m

         [job1]

         [job2]

         ; -- end job file --",
    );
    let jobs: Vec<&Job> = file.jobs().collect();
    assert_eq!(
        jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(),
        ["job1", "job2"]
    );
    assert!(jobs.iter().all(|job| job.options.mode == Mode::RandRead
        && job.options.size == Some(Size::Bytes(128 << 20))));
    assert_eq!((jobs[0].line, jobs[1].line), (6, 8));
    assert_eq!(file.groups.len(), 1);
    assert!(file.warnings.is_empty());
}

#[test]
fn the_documentations_random_writers() {
    let file = read(
        "[random-writers]\nioengine=libaio\niodepth=4\nrw=randwrite\nbs=32k\ndirect=0\nsize=64m\nnumjobs=4",
    );
    let options = &file.groups[0].jobs[0].options;
    assert_eq!(
        (options.engine, options.depth, options.mode, options.numjobs),
        (IoEngine::Libaio, 4, Mode::RandWrite, 4)
    );
    assert_eq!(
        (options.block.write.clone(), options.direct, file.workers()),
        (BlockSize::Fixed(32 << 10), false, 4)
    );
}

#[test]
fn a_global_section_holds_for_what_follows_it() {
    let file = read("[a]\n[global]\nbs=8k\niodepth=2\n[b]\n[global]\nbs=16k\n[c]\niodepth=3\n[d]");
    let seen: Vec<(u64, u32)> = file
        .jobs()
        .map(|job| (job.options.block.read.max() >> 10, job.options.depth))
        .collect();
    assert_eq!(seen, [(4, 1), (8, 2), (16, 3), (16, 2)]);
}

#[test]
fn a_section_whose_name_starts_with_global_is_global_as_in_fio() {
    let warnings = warnings("[globals]\nbs=8k\n[a]");
    assert!(
        warnings[0].starts_with("test.fio:1:2: warning: fio takes every section"),
        "{warnings:?}"
    );
    assert_eq!(
        read("[global-x]\nbs=8k\n[a]").groups[0].jobs[0]
            .options
            .block
            .read,
        BlockSize::Fixed(8192)
    );
}

#[test]
fn stonewalls_divide_jobs_into_groups() {
    let names = |text: &str| -> Vec<Vec<String>> {
        read(text)
            .groups
            .iter()
            .map(|group| group.jobs.iter().map(|job| job.name.clone()).collect())
            .collect()
    };
    assert_eq!(
        names("[a]\n[b]\nstonewall\n[c]\n[d]\nwait_for_previous"),
        [vec!["a"], vec!["b", "c"], vec!["d"]]
    );
    assert_eq!(names("[a]\nstonewall\n[b]\nstonewall=0"), [vec!["a", "b"]]);
    assert_eq!(
        names("[global]\nstonewall\n[a]\n[b]\n[c]\nstonewall=0"),
        [vec!["a"], vec!["b", "c"]]
    );
}

#[test]
fn reports_are_grouped_by_stonewalls_and_new_group() {
    // The groups that fio 3.33 prints for the same file.
    let file = read("[a]\nnew_group\n[b]\n[c]\nnew_group\n[d]\nstonewall\nnumjobs=2\n[e]");
    assert_eq!(
        file.jobs().map(|job| job.report_group).collect::<Vec<_>>(),
        [0, 0, 1, 2, 2]
    );
    assert_eq!(
        file.jobs().map(|job| job.first_worker).collect::<Vec<_>>(),
        [1, 2, 3, 4, 6]
    );
}

#[test]
fn a_job_can_have_another_name_than_its_section() {
    let file = read("[a]\nname=b\nsize=1m");
    let job = &file.groups[0].jobs[0];
    assert_eq!((job.section.as_str(), job.name.as_str()), ("a", "b"));
    assert!(warnings("[global]\nname=x\n[a]")[0].contains("a name in [global]"));
    assert_eq!(read("[global]\nname=x\n[a]").groups[0].jobs[0].name, "a");
}

#[test]
fn a_job_waits_for_one_before_it() {
    assert_eq!(
        read("[a]\n[b]\nwait_for=a").groups[0].jobs[1]
            .options
            .wait_for
            .as_deref(),
        Some("a")
    );
    for text in [
        "[a]\nwait_for=b\n[b]",
        "[a]\n[a]\n[b]\nwait_for=a",
        "[a]\nwait_for=a",
    ] {
        assert_eq!(parse(text).expect_err(text).kind, ErrorKind::Conflict);
    }
}

// ---- variables, includes, comments

#[test]
fn the_documentations_variables() {
    let surroundings = Surroundings::isolated().variables(|name| match name {
        "SIZE" => Some("64m".to_owned()),
        "NUMJOBS" => Some("4".to_owned()),
        _ => None,
    });
    let file = JobFile::parse(
        "test.fio",
        "[random-writers]\nrw=randwrite\nsize=${SIZE}\nnumjobs=${NUMJOBS}",
        &surroundings,
    )
    .unwrap();
    let options = &file.groups[0].jobs[0].options;
    assert_eq!(
        (options.size, options.numjobs),
        (Some(Size::Bytes(64 << 20)), 4)
    );
}

#[test]
fn a_variable_that_is_not_set_is_nothing_and_said() {
    assert_eq!(
        message("size=${NONE}"),
        "test.fio:2:6: size: its value is empty (${NONE} is not set)"
    );
    let warnings = warnings("[a]\nfilename=x${NONE}\nsize=1m");
    assert_eq!(
        warnings,
        [
            "test.fio:2:10: warning: filename: the variable NONE is not set: nothing stands in its place"
        ]
    );
}

#[test]
fn reserved_words_are_the_machines_numbers_and_can_be_reckoned_with() {
    let machine = Machine {
        processors: 6,
        page_bytes: 16384,
        memory_mib: 1000,
    };
    let read = |lines: &str| {
        let surroundings = Surroundings::isolated().machine(machine);
        JobFile::parse("test.fio", &format!("[j]\n{lines}"), &surroundings)
            .map(|file| file.groups[0].jobs[0].options.clone())
    };
    // The documentation's example.
    assert_eq!(
        read("size=8*$mb_memory").unwrap().size,
        Some(Size::Bytes(8000))
    );
    assert_eq!(read("numjobs=$ncpus/2").unwrap().numjobs, 3);
    assert_eq!(
        read("bs=$pagesize,2*$pagesize").unwrap().block.write,
        BlockSize::Fixed(32768)
    );
    assert_eq!(
        read("bsrange=4k-$pagesize").unwrap().block.read,
        BlockSize::Range {
            min: 4096,
            max: 16384
        }
    );
    assert!(read("size=8*1000").is_err());
}

#[test]
fn arithmetic_stands_in_parentheses() {
    let options = options(
        "size=(64*1m)\nbs=(4k*2),(4k*4)\nruntime=(10*60)\nio_size=(1+2)m\nfilesize=(1k)-(2k*2)",
    );
    assert_eq!(
        (options.size, options.runtime),
        (Some(Size::Bytes(64 << 20)), Some(Duration::from_secs(600)))
    );
    assert_eq!(
        (options.block.read, options.block.write),
        (BlockSize::Fixed(8192), BlockSize::Fixed(16384))
    );
    assert_eq!(
        (options.io_size, options.filesize),
        (Some(Size::Bytes(3 << 20)), Some((1024, 4096)))
    );
    refused("size=(4k*)", ErrorKind::Value, "not expected");
}

fn with_files<'a>(files: &'a HashMap<&'a str, &'a str>) -> Surroundings<'a> {
    Surroundings::isolated().includes(|path: &Path| {
        let text = path.to_str().and_then(|path| files.get(path));
        text.map(|text| text.as_bytes().to_vec())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such file"))
    })
}

#[test]
fn the_documentations_includes() {
    let files = HashMap::from([
        (
            "jobs/glob-include.fio",
            "; -- start job file glob-include.fio --\nthread=1\ngroup_reporting=1\n",
        ),
        (
            "test-include.fio",
            "ioengine=libaio\niodepth=4\ninclude more/deep.fio\n",
        ),
        ("more/deep.fio", "direct=1\ninclude deeper.fio\n"),
        ("more/deeper.fio", "loops=2"),
    ]);
    let text = "[global]\nfilename=/tmp/test\nfilesize=1m\ninclude glob-include.fio\n\n[test]\nrw=randread\nbs=4k\ntime_based=1\nruntime=10\ninclude test-include.fio\n[other]";
    let file = JobFile::parse("jobs/including.fio", text, &with_files(&files)).unwrap();
    let jobs: Vec<&Options> = file.jobs().map(|job| &job.options).collect();
    assert!(
        jobs.iter()
            .all(|options| options.thread && options.group_reporting)
    );
    assert_eq!(
        (jobs[0].engine, jobs[0].depth, jobs[0].direct, jobs[0].loops),
        (IoEngine::Libaio, 4, true, 2)
    );
    // What is included in a section holds for that section only.
    assert_eq!((jobs[1].depth, jobs[1].direct), (1, false));
    assert_eq!(parse(&file.to_string()), Ok(file));
}

#[test]
fn bad_includes_are_errors_where_they_stand() {
    let files = HashMap::from([
        ("self.fio", "include self.fio"),
        ("section.fio", "bs=4k\n[no]"),
        ("bad.fio", "\nbs=x"),
        ("odd.fio", "iodpeth=1"),
    ]);
    let error = |text: &str| {
        JobFile::parse("a.fio", text, &with_files(&files))
            .expect_err(text)
            .to_string()
    };
    assert_eq!(
        error("[a]\ninclude self.fio"),
        "self.fio:1:9: files include each other more than 8 deep"
    );
    assert_eq!(
        error("[a]\ninclude section.fio"),
        "section.fio:2:2: an included file can't have sections"
    );
    assert_eq!(
        error("[a]\ninclude bad.fio"),
        "bad.fio:2:4: bs: \"x\" is no number"
    );
    assert_eq!(
        error("[a]\ninclude odd.fio"),
        "odd.fio:1:9: iodpeth: is no option of fio's; did you mean iodepth?"
    );
    assert_eq!(
        error("[a]\ninclude none.fio"),
        "a.fio:2:9: none.fio can't be included: there is no such file"
    );
    assert_eq!(
        error("include bad.fio\n[a]"),
        "a.fio:1:9: include stands before the first section"
    );
}

#[test]
fn comments_may_start_anywhere() {
    let options = options("# size=1m\n  ; x\nbs=8k ; half a line\nfilename=/a#b\nrw=read# glued");
    assert_eq!(
        (options.block.read, options.filenames, options.size),
        (BlockSize::Fixed(8192), vec!["/a".to_owned()], None)
    );
}

// ---- each family of options

#[test]
fn modes() {
    for (text, mode, reads, writes, random) in [
        ("read", Mode::Read, true, false, false),
        ("write", Mode::Write, false, true, false),
        ("randread", Mode::RandRead, true, false, true),
        ("randwrite", Mode::RandWrite, false, true, true),
        ("rw", Mode::ReadWrite, true, true, false),
        ("readwrite", Mode::ReadWrite, true, true, false),
        ("randrw", Mode::RandReadWrite, true, true, true),
    ] {
        assert_eq!(options(&format!("rw={text}")).mode, mode);
        assert_eq!(options(&format!("readwrite={text}")).mode, mode);
        assert_eq!(
            (mode.reads(), mode.writes(), mode.is_random()),
            (reads, writes, random)
        );
    }
    for trim in ["trim", "randtrim", "trimwrite", "randtrimwrite"] {
        refused(
            &format!("rw={trim}"),
            ErrorKind::Unsupported,
            "trims are not offered",
        );
    }
    assert_eq!(
        message("rw=rand"),
        "test.fio:2:4: rw: \"rand\" is none of read, write, randread, randwrite, rw, readwrite, randrw, trim, randtrim, trimwrite, randtrimwrite"
    );
    refused("rw= read", ErrorKind::Value, "blank behind the =");
}

#[test]
fn modes_with_a_number() {
    let options = options("rw=randread:8\nrw_sequencer=identical");
    assert_eq!(
        (options.mode, options.modifier, options.sequencer),
        (Mode::RandRead, 8, Sequencer::Identical)
    );
    assert_eq!(self::options("rw=write:4k").modifier, 4096);
    refused("rw=read:-4k", ErrorKind::Unsupported, "backwards");
    refused(
        "rw=read:2\nrw_sequencer=identical",
        ErrorKind::Conflict,
        "random modes",
    );
    refused("rw=read:x", ErrorKind::Value, "no number");
}

#[test]
fn mixes() {
    assert_eq!(options("rw=randrw\nrwmixread=70").read_percent, 70);
    assert_eq!(options("rw=randrw\nrwmixwrite=30").read_percent, 70);
    // The later one holds, as the documentation says.
    assert_eq!(
        options("rw=randrw\nrwmixread=70\nrwmixwrite=40").read_percent,
        60
    );
    refused("rwmixread=101", ErrorKind::Value, "at most 100");
}

#[test]
fn the_documentations_block_sizes() {
    const K: u64 = 1024;
    for (text, read, write) in [
        ("256k", 256, 256),
        ("8k,32k", 8, 32),
        ("8k,32k,", 8, 32),
        (",8k", 4, 8),
        (",8k,", 4, 8),
        ("8k,", 8, 4),
        ("1k,2k,3k", 1, 2),
    ] {
        let options = options(&format!("bs={text}"));
        assert_eq!(
            (options.block.read, options.block.write),
            (BlockSize::Fixed(read * K), BlockSize::Fixed(write * K)),
            "{text}"
        );
        assert_eq!(
            self::options(&format!("blocksize={text}")).block.read.max(),
            read * K
        );
    }
    refused("bs=0", ErrorKind::Value, "at least 1");
    refused("bs=2g", ErrorKind::Value, "at most");
    refused("bs=4k,4k,4k,4k", ErrorKind::Value, "three");
    refused("bs=20%", ErrorKind::Value, "percentage");
}

#[test]
fn the_documentations_block_size_ranges() {
    let options = options("bsrange=1k-4k,2k-8k\nbs_unaligned");
    assert_eq!(
        options.block,
        PerDirection {
            read: BlockSize::Range {
                min: 1024,
                max: 4096
            },
            write: BlockSize::Range {
                min: 2048,
                max: 8192
            }
        }
    );
    assert!(options.block_unaligned);
    assert_eq!(
        self::options("blocksize_range=1k:4k").block.write,
        BlockSize::Range {
            min: 1024,
            max: 4096
        }
    );
    assert_eq!(self::options("bsrange=4k-1k").block.read.min(), 1024);
    assert_eq!(
        self::options("bsrange=,1k-2k").block.read,
        BlockSize::Fixed(4096)
    );
    assert_eq!(
        self::options("bsrange=4k-4k").block.read,
        BlockSize::Fixed(4096)
    );
    refused("bsrange=4k", ErrorKind::Value, "no range");
    refused("bsrange=1k-4k/8k-32k", ErrorKind::Value, "fio ignores");
    refused("bsrange=0-4k", ErrorKind::Value, "from 1");
}

fn split(parts: &[(u64, u8)]) -> BlockSize {
    BlockSize::Split(
        parts
            .iter()
            .map(|&(kib, percent)| SplitPart {
                bytes: kib << 10,
                percent,
            })
            .collect(),
    )
}

#[test]
fn the_documentations_block_size_splits() {
    assert_eq!(
        options("bssplit=4k/10:64k/50:32k/40").block.read,
        split(&[(4, 10), (64, 50), (32, 40)])
    );
    assert_eq!(
        options("bssplit=4k/50:1k/:32k/").block.write,
        split(&[(4, 50), (1, 25), (32, 25)])
    );
    let both = options("bssplit=2k/50:4k/50,4k/90:8k/10").block;
    assert_eq!(
        (both.read, both.write),
        (split(&[(2, 50), (4, 50)]), split(&[(4, 90), (8, 10)]))
    );
    // What is missing goes to the last one; nothing of 0 % is left; one size alone is no split.
    assert_eq!(
        options("bssplit=4k/50:8k/40").block.read,
        split(&[(4, 50), (8, 50)])
    );
    assert_eq!(
        options("bssplit=4k/:8k/:16k/").block.read,
        split(&[(4, 33), (8, 33), (16, 34)])
    );
    assert_eq!(
        options("bssplit=4k/100:8k/").block.read,
        BlockSize::Fixed(4096)
    );
    assert_eq!(options("bssplit=16k").block.read, BlockSize::Fixed(16384));
    refused("bssplit=4k/60:8k/50", ErrorKind::Value, "add up to 110");
    refused("bssplit=4k/50:,8k/", ErrorKind::Value, "empty");
    refused(
        "bssplit=4k/50:8k/50,",
        ErrorKind::Value,
        "one list for both",
    );
    refused(
        &format!("bssplit={}", ["4k/1"; 65].join(":")),
        ErrorKind::Value,
        "more than 64",
    );
}

/// As fio 3.33 prints the sizes of the same jobs when it starts them.
#[test]
fn block_sizes_given_in_several_ways_are_what_fio_makes_of_them() {
    assert_eq!(
        options("bsrange=1k-4k\nbs=8k").block.read,
        BlockSize::Range {
            min: 1024,
            max: 4096
        }
    );
    assert_eq!(
        options("bsrange=1k-2k\nbssplit=4k/50:8k/").block.read,
        split(&[(4, 50), (8, 50)])
    );
    assert_eq!(
        options("bssplit=4k/100\nblocksize=2k").block.read,
        BlockSize::Fixed(4096)
    );
    assert!(
        warnings("[global]\nbsrange=1k-4k\n[a]\nbs=8k")[0]
            .ends_with("bs: has no effect: the job has a bsrange, which fio prefers")
    );
    refused(
        "bssplit=4k/50:8k/\nbsrange=1k-2k",
        ErrorKind::Conflict,
        "mix both up",
    );
}

#[test]
fn alignment_of_random_blocks() {
    let options = options("rw=randread\nbs=8k\nba=2k,4k");
    assert_eq!(
        (
            options.block_align.read,
            options.block_align.write,
            options.covers()
        ),
        (Some(2048), Some(4096), false)
    );
    assert!(warnings("[a]\nrw=randread\nblockalign=512")[0].contains("random map"));
    // The block's own size is no alignment of its own, and without random offsets there is none.
    assert_eq!(self::options("rw=randread\nba=4k").block_align.read, None);
    assert_eq!(self::options("rw=read\nba=2k").block_align.read, None);
}

#[test]
fn direct_and_buffered_are_each_others_opposite() {
    assert!(options("direct=1").direct && options("buffered=0").direct);
    assert!(!options("direct=1\nbuffered=1").direct && options("buffered=1\ndirect=1").direct);
    for text in ["direct", "direct=2", "direct=yes", "direct="] {
        assert!(parse(&format!("[j]\n{text}")).is_err(), "{text}");
    }
}

#[test]
fn sync_and_fsync() {
    for (text, expected) in [
        ("none", SyncMode::None),
        ("0", SyncMode::None),
        ("sync", SyncMode::Sync),
        ("1", SyncMode::Sync),
        ("dsync", SyncMode::Dsync),
    ] {
        assert_eq!(options(&format!("sync={text}")).sync, expected);
    }
    let options = options("fsync=32\nfdatasync=1\nend_fsync=1\nfsync_on_close=1");
    assert_eq!(
        (
            options.fsync,
            options.fdatasync,
            options.end_fsync,
            options.fsync_on_close
        ),
        (32, 1, true, true)
    );
    refused(
        "sync_file_range=write:8",
        ErrorKind::Unsupported,
        "fdatasync",
    );
    refused("write_barrier=8", ErrorKind::Unsupported, "fdatasync");
}

#[test]
fn sizes() {
    let options = options(
        "size=20%\nio_limit=5g\nfilesize=1m-4m\noffset=10%\noffset_increment=1m\noffset_align=8k\nnumber_ios=1000\nnrfiles=3",
    );
    assert_eq!(
        (options.size, options.io_size),
        (Some(Size::Percent(20)), Some(Size::Bytes(5 << 30)))
    );
    assert_eq!(
        (options.filesize, options.offset),
        (Some((1 << 20, 4 << 20)), Size::Percent(10))
    );
    assert_eq!(
        (
            options.offset_increment,
            options.offset_align,
            options.number_ios,
            options.nrfiles
        ),
        (Size::Bytes(1 << 20), 8192, Some(1000), 3)
    );
    assert_eq!(self::options("size=0").size, None);
    refused("size=1k", ErrorKind::Conflict, "less than one block");
    refused("size=5x", ErrorKind::Value, "unknown suffix");
    refused("size = 4k", ErrorKind::Value, "drop the suffix");
    refused("size=-1", ErrorKind::Value, "negative");
    refused("size=2z", ErrorKind::Value, "zones");
    refused("size", ErrorKind::Value, "needs a value");
    refused("nrfiles=1000000", ErrorKind::Value, "at most");
}

#[test]
fn the_base_of_units_holds_for_its_whole_section_and_those_that_inherit_it() {
    let file = read(
        "[global]\nsize=1m\n[a]\nbs=1k\nkb_base=1000\nsize=1mib\n[b]\nbs=1k\n[global]\nkb_base=1000\n[c]\nbs=1k",
    );
    let sizes: Vec<u64> = file
        .jobs()
        .map(|job| job.options.block.read.max())
        .collect();
    assert_eq!(sizes, [1000, 1024, 1000]);
    assert_eq!(
        file.groups[0].jobs[0].options.size,
        Some(Size::Bytes(1 << 20))
    );
    refused("kb_base=1001", ErrorKind::Value, "1024, 1000");
}

#[test]
fn names_of_files() {
    let names = |text: &str| options(text).filenames;
    // The documentation's examples.
    assert_eq!(
        names("filename=/dev/sda:/dev/sdb"),
        ["/dev/sda", "/dev/sdb"]
    );
    assert_eq!(
        names("filename=/dev/dsk/foo@3,0\\:c"),
        ["/dev/dsk/foo@3,0:c"]
    );
    assert_eq!(names("filename=F\\:\\filename"), ["F:\\filename"]);
    // The directory counts wherever it stands in the section, and only the first one.
    assert_eq!(names("filename=a:b\ndirectory=d:e"), ["d/a", "d/b"]);
    assert_eq!(options("directory=d:e\\:f").directories, ["d", "e:f"]);
    assert_eq!(
        options("filename_format=x.$jobname.$filenum").filename_format,
        "x.$jobname.$filenum"
    );
    refused(
        "filename=a::b",
        ErrorKind::Value,
        "nothing between two colons",
    );
    refused("filename=-", ErrorKind::Unsupported, "standard input");
    refused("filename=a\\", ErrorKind::Value, "backslash");
    refused("filename= a", ErrorKind::Value, "blank behind the =");
}

/// As fio 3.33 does: it leaves both files behind.
#[test]
fn a_filename_is_added_to_those_of_the_global_section() {
    let file = read("[global]\nfilename=gg\n[a]\nfilename=ff\ndirectory=d");
    assert_eq!(file.groups[0].jobs[0].options.filenames, ["gg", "d/ff"]);
    let warnings: Vec<String> = file.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "test.fio:5:11: warning: directory: has no effect on a filename of an earlier [global]",
            "test.fio:4:10: warning: filename: is added to the 1 that the job has already, gg first; so does fio",
        ]
    );
}

#[test]
fn what_becomes_of_files() {
    let options = options("unlink=1\noverwrite=1\ncreate_on_open=1\ninvalidate=0");
    assert!(options.unlink && options.overwrite && options.create_on_open && !options.invalidate);
}

#[test]
fn times() {
    let options = options(
        "runtime=10m\ntime_based\nramp_time=500ms\nstartdelay=1s-2s\nthinktime=50\nthinktime_spin=20us\nthinktime_blocks=4",
    );
    assert_eq!(
        (options.runtime, options.time_based, options.ramp_time),
        (
            Some(Duration::from_secs(600)),
            true,
            Duration::from_millis(500)
        )
    );
    assert_eq!(
        options.start_delay,
        (Duration::from_secs(1), Duration::from_secs(2))
    );
    let micros = Duration::from_micros;
    assert_eq!(
        (
            options.thinktime,
            options.thinktime_spin,
            options.thinktime_blocks
        ),
        (micros(50), micros(20), 4)
    );
    assert_eq!(
        self::options("timeout=30").runtime,
        Some(Duration::from_secs(30))
    );
    assert_eq!(
        self::options("startdelay=5").start_delay,
        (Duration::from_secs(5), Duration::from_secs(5))
    );
    assert_eq!(self::options("runtime=0").runtime, None);
    refused("runtime=5sec", ErrorKind::Value, "microseconds");
    refused("runtime=1.5", ErrorKind::Value, "take it for 1");
}

#[test]
fn time_based_needs_a_runtime_as_in_fio() {
    let file = read("[a]\ntime_based=1");
    assert!(!file.groups[0].jobs[0].options.time_based);
    assert_eq!(
        file.warnings[0].to_string(),
        "test.fio:1:2: warning: time_based has no effect without a runtime"
    );
}

#[test]
fn the_documentations_rates() {
    let rate = |text: &str| options(text).rate;
    assert_eq!(
        rate("rate=1m,500k"),
        PerDirection {
            read: Some(1 << 20),
            write: Some(500 << 10)
        }
    );
    assert_eq!(
        rate("rate=,500k"),
        PerDirection {
            read: None,
            write: Some(500 << 10)
        }
    );
    assert_eq!(
        rate("rate=500k,"),
        PerDirection {
            read: Some(500 << 10),
            write: None
        }
    );
    assert_eq!(
        rate("rate=500k\nrate=,0"),
        PerDirection {
            read: Some(500 << 10),
            write: None
        }
    );
    assert_eq!(
        options("rate_iops=100,200").rate_iops,
        PerDirection {
            read: Some(100),
            write: Some(200)
        }
    );
    refused(
        "rate=1m\nrate_iops=100",
        ErrorKind::Conflict,
        "exclude each other",
    );
    refused("rate_process=poisson", ErrorKind::Unsupported, "linear");
    assert!(warnings("[a]\nrate_min=1k")[0].contains("rate_min: has no effect here"));
}

#[test]
fn engines_and_depth() {
    for (text, engine) in [
        ("io_uring", IoEngine::IoUring),
        ("libaio", IoEngine::Libaio),
        ("posixaio", IoEngine::Posixaio),
        ("psync", IoEngine::Psync),
        ("sync", IoEngine::Sync),
        ("vsync", IoEngine::Vsync),
        ("pvsync", IoEngine::Pvsync),
        ("pvsync2", IoEngine::Pvsync2),
    ] {
        assert_eq!(options(&format!("ioengine={text}")).engine, engine);
    }
    let options = options(
        "ioengine=io_uring\niodepth=32\niodepth_batch=8\niodepth_batch_complete=4\niodepth_batch_complete_max=16\niodepth_low=16",
    );
    assert_eq!(
        (
            options.depth,
            options.batch_submit,
            options.batch_complete_min
        ),
        (32, 8, 4)
    );
    assert_eq!(
        (options.batch_complete_max, options.depth_low),
        (Some(16), Some(16))
    );
    let clamped = self::options(
        "ioengine=io_uring\niodepth=2\niodepth_batch_submit=8\niodepth_low=5\niodepth_batch_complete_min=4\niodepth_batch_complete_max=3",
    );
    assert_eq!(
        (
            clamped.batch_submit,
            clamped.depth_low,
            clamped.batch_complete_max
        ),
        (2, None, None)
    );
    assert!(warnings("[a]\niodepth=2")[0].contains("iodepth=2 has no effect with ioengine=psync"));
    refused("ioengine=null", ErrorKind::Unsupported, "io_uring, libaio");
    refused("iodepth=0", ErrorKind::Value, "at least 1");
    refused("iodepth=65537", ErrorKind::Value, "at most");
    refused("io_submit_mode=offload", ErrorKind::Unsupported, "inline");
}

#[test]
fn options_of_engines_belong_to_their_engines() {
    let options = options("ioengine=io_uring\nfixedbufs\nregisterfiles=1\nnonvectored=1");
    assert!(options.fixed_buffers && options.registered_files);
    assert_eq!(
        options
            .fio_only
            .iter()
            .map(|option| option.name)
            .collect::<Vec<_>>(),
        ["nonvectored"]
    );
    // The order of the lines does not count.
    assert!(self::options("fixedbufs\nioengine=io_uring").fixed_buffers);
    for name in [
        "hipri",
        "sqthread_poll",
        "force_async=1",
        "cmdprio_percentage=10",
    ] {
        let warnings = warnings(&format!("[a]\nioengine=io_uring\n{name}"));
        assert!(warnings[0].contains("has no effect here"), "{warnings:?}");
    }
    refused(
        "fixedbufs",
        ErrorKind::Conflict,
        "psync, has no such option",
    );
    refused(
        "ioengine=libaio\nhipri",
        ErrorKind::Conflict,
        "libaio, has no such option",
    );
    // Inherited, and then another engine: they are lost, as in fio.
    let file =
        read("[global]\nioengine=io_uring\nfixedbufs\nnonvectored=1\n[a]\nioengine=libaio\n[b]");
    let kept: Vec<(bool, usize)> = file
        .jobs()
        .map(|job| (job.options.fixed_buffers, job.options.fio_only.len()))
        .collect();
    assert_eq!(kept, [(false, 0), (true, 1)]);
}

#[test]
fn a_job_can_be_printed_for_another_engine() {
    let mut file =
        read("[a]\nioengine=io_uring\niodepth=8\nfixedbufs\nhipri\nnonvectored=1\nfallocate=none");
    file.groups[0].jobs[0].options.set_engine(IoEngine::Libaio);
    assert_eq!(
        file.to_string(),
        "[a]\nioengine=libaio\niodepth=8\nfallocate=none\n"
    );
    file.groups[0].jobs[0].options.set_engine(IoEngine::Psync);
    assert_eq!(parse(&file.to_string()), Ok(file));
}

#[test]
fn memory() {
    let file = |name: &str| Some(name.to_owned());
    for (text, expected) in [
        ("malloc", Memory::Malloc),
        ("shm", Memory::Shm),
        ("shmhuge", Memory::ShmHuge),
        ("mmap", Memory::Mmap(None)),
        ("mmap:/tmp/a:b", Memory::Mmap(file("/tmp/a:b"))),
        ("mmaphuge", Memory::MmapHuge(None)),
        ("mmaphuge:/huge/file", Memory::MmapHuge(file("/huge/file"))),
        ("mmapshared", Memory::MmapShared(None)),
    ] {
        assert_eq!(options(&format!("iomem={text}")).memory, expected);
        assert_eq!(options(&format!("mem={text}")).memory, expected);
    }
    assert_eq!(options("iomem_align=64k").memory_align, 65536);
    assert_eq!(options("mem_align=512").memory_align, 512);
    let buffers = options("zero_buffers\nrefill_buffers\nscramble_buffers=0");
    assert!(buffers.zero_buffers && buffers.refill_buffers && !buffers.scramble_buffers);
    refused("mem=cudamalloc", ErrorKind::Unsupported, "graphics");
    refused("mem=malloc:x", ErrorKind::Value, "none of");
    refused("mem=mmap:", ErrorKind::Value, "no name");
    assert!(
        warnings("[a]\nbuffer_compress_percentage=50")[0].contains("what is written is random")
    );
}

#[test]
fn the_documentations_distributions() {
    for (text, expected) in [
        ("random", Distribution::Random),
        (
            "zipf:1.2",
            Distribution::Zipf {
                theta: 1.2,
                center: None,
            },
        ),
        (
            "zipf:1.2:0.25",
            Distribution::Zipf {
                theta: 1.2,
                center: Some(0.25),
            },
        ),
        (
            "zipf",
            Distribution::Zipf {
                theta: 1.1,
                center: None,
            },
        ),
        (
            "pareto:0.2",
            Distribution::Pareto {
                power: 0.2,
                center: None,
            },
        ),
        (
            "pareto",
            Distribution::Pareto {
                power: 0.2,
                center: None,
            },
        ),
        (
            "normal:20",
            Distribution::Normal {
                deviation: 20.0,
                center: None,
            },
        ),
        (
            "normal:20:0.1",
            Distribution::Normal {
                deviation: 20.0,
                center: Some(0.1),
            },
        ),
    ] {
        let options = options(&format!("rw=randread\nrandom_distribution={text}"));
        assert_eq!(options.distribution, expected);
        assert_eq!(options.covers(), text == "random");
    }
    for text in [
        "zipf:1",
        "zipf:-1",
        "zipf:nan",
        "pareto:1.2",
        "pareto:0",
        "normal:100",
        "zipf:1.2:2",
        "zipf:1.2:0:0",
        "other",
        "random:1",
    ] {
        assert!(
            parse(&format!("[j]\nrandom_distribution={text}")).is_err(),
            "{text}"
        );
    }
    refused(
        "random_distribution=zoned:60/10:30/20:8/30:2/40",
        ErrorKind::Unsupported,
        "zipf",
    );
    refused(
        "random_distribution=zoned_abs:60/20G:30/100G:10/500g",
        ErrorKind::Unsupported,
        "zipf",
    );
}

#[test]
fn what_makes_random_numbers_repeatable() {
    let options = options("rw=randread\nnorandommap\nrandrepeat=0\nallrandrepeat=1\nrandseed=0x10");
    assert!(
        options.norandommap && !options.randrepeat && options.allrandrepeat && !options.covers()
    );
    assert_eq!(options.randseed, Some(16));
    assert!(self::options("rw=randread\nnorandommap=0").covers());
    assert!(self::options("random_generator=lfsr").fio_only[0].name == "random_generator");
    refused(
        "percentage_random=50",
        ErrorKind::Unsupported,
        "random altogether",
    );
}

#[test]
fn verification() {
    for (text, expected) in [
        ("crc32c", Some(Verify::Crc32c)),
        ("crc32c-intel", Some(Verify::Crc32c)),
        ("crc32", Some(Verify::Crc32)),
        ("0", None),
    ] {
        assert_eq!(options(&format!("verify={text}")).verify, expected);
    }
    let options = options(
        "rw=write\nverify=pattern\nverify_pattern=0xff%o\"abcd\"-12\ndo_verify=0\nverify_fatal=1",
    );
    assert_eq!(options.verify, Some(Verify::Pattern));
    assert!(!options.do_verify && options.verify_fatal);
    assert_eq!(
        options.verify_pattern[..2],
        [PatternPart::Bytes(vec![0xff]), PatternPart::Offset]
    );
    for other in ["md5", "sha512", "xxhash", "crc16", "meta", "null"] {
        refused(
            &format!("verify={other}"),
            ErrorKind::Unsupported,
            "take crc32c, crc32 or pattern",
        );
    }
    refused("verify=crc33", ErrorKind::Value, "none of");
    refused(
        "verify=pattern",
        ErrorKind::Conflict,
        "needs a verify_pattern",
    );
    refused("verify_interval=512", ErrorKind::Unsupported, "one header");
    refused(
        "verify_backlog=1024",
        ErrorKind::Unsupported,
        "once it was written",
    );
    for mode in ["randwrite", "randrw"] {
        assert!(
            warnings(&format!(
                "[a]\nrw={mode}\nverify=crc32c\ntime_based\nruntime=5"
            ))[0]
                .contains("nothing will be verified")
        );
    }
    // What is read is verified as it comes.
    assert_eq!(
        warnings("[a]\nrw=randread\nverify=crc32c\ntime_based\nruntime=5"),
        [""; 0]
    );
}

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
