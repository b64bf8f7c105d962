//! Where, when and by which command something was measured, for the head of a page. Asks only, with
//! calls that change nothing; what the system does not tell is left out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::facts;
use crate::figures::units;

/// What stands above every page: name and value. `dir` is the directory of the files that are
/// measured on.
pub(crate) fn facts(dir: &Path, begun: SystemTime) -> Vec<(&'static str, String)> {
    let filesystem = fs::File::open(dir).map(facts::filesystem).ok();
    let shown = fs::canonicalize(dir)
        .unwrap_or_else(|_| dir.to_owned())
        .display()
        .to_string();
    let all = [
        (
            "Command",
            Some(command(
                std::env::args_os()
                    .skip(1)
                    .map(|word| word.to_string_lossy().into_owned()),
            )),
        ),
        ("When", Some(utc(begun))),
        (
            "Program",
            Some(format!("nofault {}", env!("CARGO_PKG_VERSION"))),
        ),
        ("Kernel", Some(format!("Linux {}", facts::kernel_release()))),
        ("Processor", processor()),
        ("Directory", Some(shown)),
        ("Filesystem", filesystem),
        ("Device", device(dir)),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The command as one could type it again.
fn command(words: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quote = |word: String| {
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    std::iter::once("nofault".to_owned())
        .chain(words.map(quote))
        .collect::<Vec<_>>()
        .join(" ")
}

/// As `2026-11-23 03:04:05 UTC`.
fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end with the day that leap years add; 400 of them have 146,097
    // days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    format!(
        "{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let value = |line: &str| {
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    // Not all architectures have a line for the model.
    let model = text
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(value);
    let count = std::thread::available_parallelism().map(usize::from).ok()?;
    let count = format!("{count} processor{}", if count == 1 { "" } else { "s" });
    Some(model.map_or(count.clone(), |model| format!("{model}, {count}")))
}

/// The block device below a directory: its name, size and model; or what is mounted there where it
/// is none.
fn device(dir: &Path) -> Option<String> {
    let number = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let found = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok();
    let Some(place) = found else {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        return source_in_mountinfo(&mounts, &format!("{major}:{minor}"));
    };
    // A partition lies within its disk, which knows the rest.
    let disk = if place.join("partition").exists() {
        place.parent()?.to_owned()
    } else {
        place.clone()
    };
    let read = |path: &str| {
        fs::read_to_string(disk.join(path))
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let size = fs::read_to_string(place.join("size"))
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let parts = [
        Some(format!("/dev/{}", place.file_name()?.to_string_lossy())),
        size.map(|sectors| units::size(sectors.saturating_mul(512))),
        read("device/model"),
        read("loop/backing_file").map(|file| format!("loop over {file}")),
        read("queue/scheduler")
            .and_then(|text| chosen(&text))
            .map(|name| format!("scheduler {name}")),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Of `[none] mq-deadline` the one in brackets.
fn chosen(schedulers: &str) -> Option<String> {
    let (_, after) = schedulers.split_once('[')?;
    Some(after.split_once(']')?.0.to_owned())
}

/// The source of a mount in proc_pid_mountinfo(5), by its device number.
fn source_in_mountinfo(mountinfo: &str, number: &str) -> Option<String> {
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(number))?;
    line.split_once(" - ")?
        .1
        .split(' ')
        .nth(1)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (1_795_402_709, "2026-11-23 02:58:29 UTC"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_command_can_be_typed_again() {
        let words = ["bench", "a b.fio", "--size=1M", "", "it's"].map(str::to_owned);
        assert_eq!(
            command(words.into_iter()),
            "nofault bench 'a b.fio' --size=1M '' 'it'\\''s'"
        );
    }

    #[test]
    fn a_mount_without_a_device_has_its_source() {
        let text = "30 21 0:41 / /mnt rw shared:1 - nfs4 server:/share rw\n31 21 254:0 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(
            source_in_mountinfo(text, "0:41").as_deref(),
            Some("server:/share")
        );
        assert_eq!(source_in_mountinfo(text, "0:42"), None);
        assert_eq!(chosen("mq-deadline [none] bfq").as_deref(), Some("none"));
    }

    #[test]
    fn what_can_be_asked_anywhere_is_there() {
        let facts = facts(Path::new("/"), SystemTime::now());
        for name in ["Command", "When", "Kernel", "Filesystem", "Directory"] {
            assert!(
                facts
                    .iter()
                    .any(|(found, value)| *found == name && !value.is_empty()),
                "{name}: {facts:?}"
            );
        }
    }
}
