//! Results of tiny runs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{self, plain};

/// A tiny run of two rows or of a job file, with the page and the JSON that it gives.
pub(crate) fn run(dir: &Path, job_file: bool) -> (String, Value) {
    let (page, job) = (dir.join("page.html"), dir.join("a&b.fio"));
    fs::write(&job, "[global]\nsize=1m\nrw=randread\niodepth=4\n[<cold>]\nio_size=16k\nbs=4k\n[warm]\nstonewall\n[mixed]\nstonewall\nrw=randrw\nbs=4k,8k\n")
        .expect("written");
    let tiny = [
        "--dir",
        plain(dir),
        "--html",
        plain(&page),
        "--json",
        "--rounds",
        "3",
    ];
    let rest = if job_file {
        vec!["run", plain(&job)]
    } else {
        vec![
            "bench",
            "--size",
            "2M",
            "--seconds",
            "0.05",
            "--only",
            "random-read",
        ]
    };
    let output = common::run(&[&rest[..], &tiny].concat());
    assert!(output.status.success(), "{}", common::stderr(&output));
    fs::remove_file(job).expect("the job file");
    (
        fs::read_to_string(page).expect("the page"),
        serde_json::from_slice(&output.stdout).expect("JSON"),
    )
}
