//! The watchdog: a test that may hang, or that changes its whole process, runs in a process of its
//! own with a deadline.
//!
//! The child is this very test program, started again for the one test. A hang is a failure, not a
//! stuck build.

use super::sys;
use std::io::{Read, Seek};
use std::os::fd::FromRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MARK: &str = "NOFAULT_TEST_CHILD";

/// Runs `body` in a child process that is killed after `deadline`.
///
/// `name` is the full name of the calling test function, since the child runs that test alone.
pub(crate) fn watched(name: &str, deadline: Duration, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some_and(|mark| mark == name) {
        body();
        sys::say(RAN);
        return;
    }
    let mut log = tempfile::tempfile().expect("a file for the child's words");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log.try_clone().unwrap())
        .process_group(0)
        .spawn()
        .expect("start the child");
    let ended = wait_for_end(child.id(), deadline);
    if !ended {
        // SAFETY: the group was made for this child and it has not been waited for, so the number
        // is still its.
        unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    }
    let status = child.wait().expect("wait for the child");
    let mut words = String::new();
    log.rewind().unwrap();
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes).unwrap();
    words.push_str(&String::from_utf8_lossy(&bytes));
    for line in words
        .lines()
        .filter_map(|line| line.find("SKIP ").map(|at| &line[at..]))
    {
        sys::say(&format!("{line}\n"));
    }
    assert!(ended, "{name} hangs: killed after {deadline:?}\n{words}");
    assert!(
        status.success(),
        "{name} failed in its own process ({status}, signal {:?})\n{words}",
        status.signal()
    );
    // A wrong name would run no test at all and succeed.
    assert!(
        words.contains(RAN.trim_end()),
        "{name}: the child ran nothing; is the name the test's own?\n{words}"
    );
}

/// Ends the child here and now, as a success.
pub(crate) fn end_now() -> ! {
    sys::say(RAN);
    std::process::exit(0);
}

const RAN: &str = "the child's body ran to its end\n";

/// Waits for the process without reaping it; false when the time is over.
pub(super) fn wait_for_end(pid: u32, deadline: Duration) -> bool {
    // SAFETY: numbers only; the new descriptor is closed with the file.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(pidfd >= 0, "pidfd_open: errno {}", sys::errno());
    // SAFETY: made above for nobody else.
    let _closer = unsafe { std::fs::File::from_raw_fd(pidfd as i32) };
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_millis() as i32;
        let mut poll = libc::pollfd {
            fd: pidfd as i32,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd that lives for the call.
        match unsafe { libc::poll(&mut poll, 1, left) } {
            0 => return false,
            1 => return true,
            _ => assert_eq!(sys::errno(), libc::EINTR, "poll"),
        }
    }
}

/// Sets a resource limit of this process, soft and hard. Only for a child.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: a plain C struct that lives for the call.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0, "setrlimit: errno {}", sys::errno());
}

/// Writing past RLIMIT_FSIZE gives EFBIG instead of a signal.
pub(crate) fn ignore_sigxfsz() {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Becomes `nobody` for good; all of the process's threads do (glibc sees to it).
pub(crate) fn become_nobody() {
    // SAFETY: numbers only.
    unsafe {
        assert_eq!(
            libc::setgroups(0, std::ptr::null()),
            0,
            "setgroups: errno {}",
            sys::errno()
        );
        assert_eq!(libc::setgid(65534), 0, "setgid: errno {}", sys::errno());
        assert_eq!(libc::setuid(65534), 0, "setuid: errno {}", sys::errno());
    }
}

/// After a change of user /proc/self belongs to root and is closed; this opens it again, as in a
/// process that nobody started.
pub(crate) fn stay_dumpable() {
    // SAFETY: numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    assert_eq!(result, 0, "PR_SET_DUMPABLE");
}

/// Lets every thread of this process, now and later, get `errno` from the system calls named.
pub(crate) fn forbid(calls: &[libc::c_long], errno: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (index, &call) in calls.iter().enumerate() {
        // A hit jumps over the other comparisons and over the ALLOW.
        let over = (calls.len() - index) as u8;
        program.push(libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: over,
            jf: 0,
            k: call as u32,
        });
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ERRNO | errno as u32,
    ));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives both calls; the kernel checks and copies it.
    unsafe {
        assert_eq!(
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            0,
            "NO_NEW_PRIVS"
        );
        let result = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &filter,
        );
        assert_eq!(result, 0, "seccomp: {result}, errno {}", sys::errno());
    }
}

/// Runs `body` in a child of this process, as the user that this process is now, when this process
/// has ended. Only for a child of `watched` with one thread of its own.
pub(crate) fn after_this_process(body: impl FnOnce()) {
    let (reader, writer) = sys::pipe();
    // SAFETY: the child waits, and then runs a test's own cleaning up, which allocates: the other
    // threads of a watched child (libtest's main thread) only wait at this time.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: errno {}", sys::errno());
    if pid > 0 {
        // Open until this process ends.
        std::mem::forget(writer);
        std::mem::forget(body);
        return;
    }
    drop(writer);
    // SAFETY: a session of its own, so that the watchdog's signal to the group spares it.
    unsafe { libc::setsid() };
    let mut byte = [0];
    let _ = std::fs::File::from(reader).read(&mut byte);
    // Every descriptor that was inherited holds a file on the mount.
    // SAFETY: no other code of this process runs after this.
    unsafe { libc::close_range(3, !0, 0) };
    body();
    // SAFETY: no destructor of the parent's may run here.
    unsafe { libc::_exit(0) };
}
