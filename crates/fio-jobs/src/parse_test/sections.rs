//! Sections, inheritance, groups.

use super::*;

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
