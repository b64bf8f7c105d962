//! Fault injection: the n-th system call of a kind fails, in a process of its own.
//!
//! The kernel asks a supervisor (SECCOMP_RET_USER_NOTIF, seccomp_unotify(2)) before each call of one
//! kind that the thread under test makes, or a thread that it has started. The supervisor is a thread
//! of the same process without that filter; it counts, and lets the call happen or answers an errno.
//! It allocates nothing and takes no lock: the thread that it answers may hold any.

use super::child::wait_for_end;
use super::sys;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The number of the system call.
    pub(crate) call: libc::c_long,
    pub(crate) errno: i32,
    /// The first call that fails, counted from 1; 0 for none.
    pub(crate) first: u64,
    /// All calls after the first fail too.
    pub(crate) lasting: bool,
}

/// How a process under test has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Calls of the kind that were made.
    pub(crate) calls: u64,
    /// The body came to its end, and nothing panicked on any thread.
    pub(crate) well: bool,
    /// Killed after the deadline.
    pub(crate) hung: bool,
    /// The wait status.
    pub(crate) status: i32,
    /// What the process has printed.
    pub(crate) words: String,
}

/// What the two processes share.
struct Board {
    calls: AtomicU64,
    done: AtomicBool,
    panicked: AtomicBool,
}

/// Runs `body` under the fault on a thread of its own in a child of fork, and then `judge` on what
/// it gave, on a thread without the fault. Only for a process whose other threads wait.
pub(crate) fn run<R: Send + 'static>(
    fault: Fault,
    deadline: Duration,
    body: impl FnOnce() -> R + Send + 'static,
    judge: impl FnOnce(R),
) -> Ended {
    let mut log = tempfile::tempfile().expect("a file for the child's words");
    // SAFETY: a new mapping; all-zero bytes are a valid Board, whose fields are atomics.
    let board: &'static Board = unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            sys::PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED, "a page to share");
        &*page.cast::<Board>()
    };
    // SAFETY: no other thread of this process is inside of a lock, by the contract above; glibc
    // takes care of its own.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: errno {}", sys::errno());
    if pid == 0 {
        // SAFETY: descriptors of this process.
        unsafe {
            libc::dup2(log.as_raw_fd(), 1);
            libc::dup2(log.as_raw_fd(), 2);
        }
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            board.panicked.store(true, Ordering::SeqCst);
            told(info);
        }));
        let result = under(fault, board, body);
        if let Ok(result) = result
            && std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(result))).is_ok()
        {
            board.done.store(true, Ordering::SeqCst);
        }
        // SAFETY: ends the child here; nothing of the parent's is to be dropped.
        unsafe { libc::_exit(0) };
    }
    let ended = wait_for_end(pid as u32, deadline);
    let mut status = 0;
    // SAFETY: the child is ours and was not waited for, so the number is still its.
    unsafe {
        if !ended {
            libc::kill(pid, libc::SIGKILL);
        }
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid, "waitpid");
    }
    let mut words = Vec::new();
    log.rewind().expect("rewind");
    log.read_to_end(&mut words).expect("the child's words");
    let ended = Ended {
        calls: board.calls.load(Ordering::SeqCst),
        well: board.done.load(Ordering::SeqCst) && !board.panicked.load(Ordering::SeqCst),
        hung: !ended,
        status,
        words: String::from_utf8_lossy(&words).into_owned(),
    };
    // SAFETY: mapped above with this size; the child, which has a mapping of its own, is gone.
    unsafe { libc::munmap(std::ptr::from_ref(board).cast_mut().cast(), sys::PAGE) };
    ended
}

fn under<R: Send + 'static>(
    fault: Fault,
    board: &'static Board,
    body: impl FnOnce() -> R + Send + 'static,
) -> std::thread::Result<R> {
    static LISTENER: AtomicI32 = AtomicI32::new(-1);
    let supervisor = std::thread::spawn(move || {
        while LISTENER.load(Ordering::Acquire) < 0 {
            std::thread::park();
        }
        supervise(LISTENER.load(Ordering::Acquire), fault, board);
    });
    let waiting = supervisor.thread().clone();
    let worker = std::thread::spawn(move || {
        LISTENER.store(ask_before(fault.call), Ordering::Release);
        waiting.unpark();
        body()
    });
    worker.join()
}

/// Puts the filter on this thread. Nothing is to be allocated before the supervisor has the answer.
fn ask_before(call: libc::c_long) -> i32 {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let (load, equal) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
    );
    let give = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        statement(load, 0, 0, 0),
        statement(equal, 0, 1, call as u32),
        statement(give, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        statement(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter live for the calls, which copy them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let listener = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        );
        assert!(listener >= 0, "seccomp: errno {}", sys::errno());
        listener as i32
    }
}

/// Whether this process may have such a supervisor; else the errno. To be asked in a child of fork
/// or a thread that ends, since the filter stays.
pub(crate) fn available() -> Result<(), i32> {
    let tried = std::thread::spawn(|| {
        // SAFETY: numbers only: asks which sizes the kernel's structs have.
        let mut sizes = [0u16; 3];
        // SAFETY: three u16 of our own, as the call wants (SECCOMP_GET_NOTIF_SIZES).
        let known = unsafe { libc::syscall(libc::SYS_seccomp, 3, 0, sizes.as_mut_ptr()) };
        if known < 0 { Err(sys::errno()) } else { Ok(()) }
    });
    tried.join().expect("the question")
}

fn supervise(listener: i32, fault: Fault, board: &Board) {
    loop {
        // SAFETY: plain C structs, for which all-zero is valid (and asked for by the kernel).
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the struct is ours and as large as the kernel wants it.
        let got = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) };
        if got < 0 {
            match sys::errno() {
                libc::EINTR | libc::ENOENT => continue,
                _ => return,
            }
        }
        // What is printed is the test's.
        let printed = fault.call == libc::SYS_write && asked.data.args[0] <= 2;
        let number = match printed {
            true => 0,
            false => board.calls.fetch_add(1, Ordering::SeqCst) + 1,
        };
        let fails =
            fault.first > 0 && (number == fault.first || fault.lasting && number > fault.first);
        // SAFETY: as above.
        let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
        answer.id = asked.id;
        if fails {
            answer.error = -fault.errno;
        } else {
            answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        }
        // SAFETY: the struct is ours. It fails where the thread is gone meanwhile.
        unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    }
}
