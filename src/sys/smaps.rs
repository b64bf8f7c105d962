//! `/proc/self/smaps`: the mappings whose faults the kernel resolves alone.
//!
//! May know: the format of proc_pid_smaps(5). Must not know: what the ranges are used for.
//!
//! No cheaper interface tells that a userfaultfd watches a mapping: PROCMAP_QUERY (Linux 6.11) has no
//! such flag. For an answer the kernel walks the page tables of the whole process, which takes about
//! a millisecond for each GiB of resident memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

/// The addresses of private anonymous memory that no userfaultfd watches, in order; neighbours are
/// joined. A fault there is resolved by the kernel alone.
pub(crate) fn plain_anonymous() -> io::Result<Vec<Range<usize>>> {
    parse(BufReader::new(File::open("/proc/self/smaps")?))
}

fn parse(lines: impl BufRead) -> io::Result<Vec<Range<usize>>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut current = None;
    for line in lines.lines() {
        let line = line?;
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let watched = |flag| ["um", "uw", "ui", "io", "pf"].contains(&flag);
            if let Some(range) = current.take()
                && !flags.split_ascii_whitespace().any(watched)
            {
                add(&mut found, range);
            }
        } else if let Some(header) = header(&line) {
            current = header;
        }
    }
    Ok(found)
}

fn add(found: &mut Vec<Range<usize>>, range: Range<usize>) {
    match found.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => found.push(range),
    }
}

/// The range in the header of a mapping. `None`: the line is no header. `Some(None)`: the mapping is
/// not private anonymous memory.
fn header(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let permissions = words.next()?;
    let inode = words.nth(2)?;
    let plain = permissions.ends_with('p') && inode == "0";
    Some(plain.then_some(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_anonymous_memory_without_a_userfaultfd_is_plain() {
        let text = "\
1000-3000 rw-p 00000000 00:00 0 \nSize: 8 kB\nVmFlags: rd wr mr mw me ac\n\
3000-4000 rw-p 00000000 00:00 0 [heap]\nVmFlags: rd wr\n\
5000-6000 rw-p 00000000 00:00 0 \nVmFlags: rd wr um\n\
6000-7000 rw-s 00000000 00:01 12 /dev/zero (deleted)\nVmFlags: rd wr sh\n\
7000-8000 r--p 00000000 08:01 99 /usr/lib/a b.so\nVmFlags: rd\n\
8000-9000 r--p 00000000 00:00 0 [vvar]\nVmFlags: rd pf io\n\
9000-a000 ---p 00000000 00:00 0 \nVmFlags: mr\n";
        let found = parse(text.as_bytes()).expect("the text");
        assert_eq!(found, [0x1000..0x4000, 0x9000..0xa000]);
    }

    #[test]
    fn memory_of_this_process_is_found() {
        let here = Box::new([0u8; 4096]);
        let addr = here.as_ptr().addr();
        let found = plain_anonymous().expect("/proc/self/smaps");
        assert!(found.iter().any(|range| range.contains(&addr)));
    }
}
