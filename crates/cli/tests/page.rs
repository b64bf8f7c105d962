//! The page that `--html` of bench and run writes, and where it is not written.

mod common;
mod results;

use std::fs;

use common::{is_refused, plain, stderr, stdout, tiny};
use results::run;

/// Elements that have no end.
const VOID: [&str; 2] = ["meta", "br"];

fn is_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in page.split('<').skip(1) {
        let name = piece
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!')
            .next()
            .expect("a name");
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "<{piece}"),
            None if VOID.contains(&name) || name.starts_with('!') => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, [""; 0]);
}

fn stands_alone(page: &str) {
    for word in [
        "http", "src=", "url(", "@import", "<link", "<script", "<iframe", "<object",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn the_page_of_the_rows_stands_alone_and_has_all_its_parts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (page, _) = run(dir.path(), false);
    is_well_formed(&page);
    stands_alone(&page);
    for word in [
        "4 KiB random read, depth 32, warm buffers",
        "p99.9 latency",
        "Latency by percentile",
        "over time",
        "Cold buffers against warm",
        "buffered",
        "Kernel",
        "@media print",
        "viewport",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(
        page.matches("<svg id=\"latency-").count() == 2
            && page.matches("<svg id=\"requests-").count() == 2
    );
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
}

#[test]
fn the_page_of_job_files_stands_alone_whatever_their_names_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let (page, _) = run(dir.path(), true);
    is_well_formed(&page);
    stands_alone(&page);
    for word in [
        "a&amp;b.fio",
        "&lt;cold&gt;: randread",
        "&lt;cold&gt; against warm",
        "nofault direct",
        "bytes-3",
    ] {
        assert!(page.contains(word), "{word}");
    }
    // Four requests make no curve.
    assert_eq!(page.matches("<svg id=\"latency-").count(), 2);
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
}

#[test]
fn a_page_that_can_not_be_written_is_an_error_before_anything_is_measured() {
    let dir = tempfile::tempdir().expect("a directory");
    let other = dir.path().join("job.fio");
    fs::write(&other, "[j]\n").expect("written");
    for page in [dir.path().join("none/page.html"), other.clone()] {
        // A file of this size could not be made.
        let output = common::run(&[
            "bench",
            "--dir",
            plain(dir.path()),
            "--size",
            "1000000T",
            "--html",
            plain(&page),
        ]);
        assert!(is_refused(&output).contains(plain(&page)));
    }
    assert_eq!(fs::read_to_string(other).expect("read"), "[j]\n");
}

#[test]
fn a_page_of_somebody_elses_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("index.html");
    let mine = "<!DOCTYPE html><html><head><title>mine</title></head></html>";
    fs::write(&page, mine).expect("written");
    let output = tiny("bench", dir.path(), &["--html", plain(&page)]);
    assert!(is_refused(&output).contains("index.html"));
    assert_eq!(fs::read_to_string(&page).expect("read"), mine);
    // One of ours is replaced.
    fs::remove_file(&page).expect("removed");
    for _ in 0..2 {
        let output = tiny(
            "bench",
            dir.path(),
            &["--only", "large", "--html", plain(&page)],
        );
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn a_page_can_go_to_standard_output_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = tiny("bench", dir.path(), &["--only", "large", "--html", "-"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = stdout(&output);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    is_well_formed(page);
    let both = tiny("bench", dir.path(), &["--json", "--html", "-"]);
    assert!(is_refused(&both).contains("standard output"));
    assert_eq!(common::names_in(dir.path()), [""; 0]);
}
