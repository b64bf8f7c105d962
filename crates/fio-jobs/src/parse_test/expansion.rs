//! Variables, arithmetic, includes, comments.

use super::*;

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
fn a_comment_may_have_any_encoding() {
    let latin = b"# caf\xe9\n[x] ; \xff\xfe\nrw=randread # gr\xfc\xdf\nsize=1m\n";
    let file = JobFile::parse_bytes(Path::new("x.fio"), latin, &Surroundings::isolated());
    assert_eq!(file.unwrap().groups[0].jobs[0].options.mode, Mode::RandRead);
    let value = b"[x]\nfilename=caf\xe9\nsize=1m\n";
    let error = JobFile::parse_bytes(Path::new("x.fio"), value, &Surroundings::isolated());
    assert_eq!(error.unwrap_err().place.line, 2);
}
