//! What stands below the table of the rows.

use super::columns::Columns;
use super::figures::Report;

/// What has to be known to read the figures; only what the rows shown need.
pub(super) fn notes(report: &Report, columns: &Columns<'_>) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Medians over {} rounds, which alternate between the columns. Latency: from making a request to seeing it done. CPU: user and \
             system time of this process, io_uring's workers included, writeback by the kernel's own threads not.",
            report.setting.rounds
        ),
        "Longest submit: the longest time for which one submission held the thread in a round; measured in rounds of their own, in which \
         submitting and waiting are two system calls. Where buffered has one request at a time, it is the whole pread or pwrite."
            .into(),
        "Cold buffers: every request has anonymous memory that was never touched, in 4 KiB pages. Warm: touched before; 4 KiB ones are \
         registered for nofault and bare io_uring."
            .into(),
        "Buffered: nothing of the file is in the page cache when a round begins. 4 KiB rows go through io_uring on a buffered descriptor \
         at the same depth, the others through pread and pwrite in one thread."
            .into(),
    ];
    if matches!(report.setting.filesystem.as_str(), "tmpfs" | "ramfs") {
        notes.push(format!(
            "On {} the file itself is the page cache: it stays there, and no column waits for a device.",
            report.setting.filesystem
        ));
    }
    if report.rows.iter().any(|row| row.access == "write") {
        notes.push(
            "Writes: every round ends with one fdatasync, and its time counts; buffered rounds write no more than the direct ones.".into(),
        );
    }
    notes.extend(columns.notes());
    let mut failures: Vec<String> = report
        .rows
        .iter()
        .flat_map(|row| {
            row.columns.iter().filter_map(|cell| {
                cell.unavailable
                    .as_ref()
                    .map(|reason| format!("{}: {reason}", cell.column))
            })
        })
        .collect();
    failures.dedup();
    failures.sort();
    failures.dedup();
    notes.extend(failures);
    notes
}
