//! Files and their sizes.

use super::*;

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
