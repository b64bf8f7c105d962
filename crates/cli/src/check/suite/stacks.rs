//! What the threads of a hung process are waiting in, as far as the kernel tells.

use std::fs;

/// Threads that are told of, and calls of each: enough to see the lock, short enough for a line.
const THREADS: usize = 8;
const CALLS: usize = 7;

/// The threads of a process and of its children: name, state, and kernel stack or, without
/// privilege, the one place they sleep in.
pub(crate) fn of(pid: u32) -> String {
    let mut told = Vec::new();
    collect(pid, &mut told, 0);
    if told.is_empty() {
        "nothing can be read of its threads".to_owned()
    } else {
        told.join(" | ")
    }
}

fn collect(pid: u32, told: &mut Vec<String>, depth: usize) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for task in tasks.flatten() {
        if told.len() >= THREADS {
            return;
        }
        let task = task.path();
        let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
        let name = read("comm").trim().to_owned();
        let state = read("stat")
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
            .unwrap_or('?');
        let mut place = calls(&read("stack")).join(" < ");
        if place.is_empty() {
            place = read("wchan").trim().to_owned();
        }
        if place.is_empty() || place == "0" {
            place = "in user space".to_owned();
        }
        told.push(format!("{name} [{state}] {place}"));
        if depth < 3 {
            for child in read("children")
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
            {
                collect(child, told, depth + 1);
            }
        }
    }
}

/// The functions of /proc/PID/stack, innermost first, without addresses.
fn calls(stack: &str) -> Vec<&str> {
    let function = |line: &'_ str| -> Option<usize> { line.find("] ").map(|at| at + 2) };
    stack
        .lines()
        .filter_map(|line| Some(&line[function(line)?..]))
        .map(|call| call.split('+').next().unwrap_or(call))
        .filter(|call| !call.is_empty() && !call.starts_with("0x"))
        .take(CALLS)
        .collect()
}
