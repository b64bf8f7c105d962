//! What the engine counted. Everything that is not the fast path leaves a trace here.

use std::fmt;

use super::fallback::Fallback;
use super::hist::Histogram;

/// Counters since the engine was built. All are events, except where a unit is named.
// In the order of declaration: what every request counts stands in one cache line.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[repr(C)]
pub struct Stats {
    /// Requests that were started.
    pub requests: u64,
    /// Requests that have ended, cancelled ones too.
    pub ended: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Bytes moved by reads.
    pub bytes_read: u64,
    /// Bytes moved by writes.
    pub bytes_written: u64,
    /// Operations handed to the kernel or the worker threads, of any kind.
    pub operations: u64,
    /// System calls that submit or wait (io_uring_enter).
    pub enters: u64,
    /// Times that requests were started before the turn that would have: most of what was in flight
    /// had ended at once.
    pub early_starts: u64,
    /// Looks at foreign memory.
    pub looked: u64,
    /// System calls made by looks.
    pub look_calls: u64,
    /// Looks that found all of it resident.
    pub resident: u64,
    /// Submissions of a resident prefix only.
    pub prefix_submissions: u64,
    /// Windows faulted in before their submission.
    pub fault_in_rounds: u64,
    /// Windows faulted in ahead of the cursor.
    pub fault_in_ahead: u64,
    /// Fault-ins that failed: the memory is bad, or can't be populated.
    pub fault_in_failed: u64,
    /// Windows that were faulted in and still not resident at the next look, or that a submission
    /// met as EFAULT.
    pub reclaimed: u64,
    /// Times a window was halved.
    pub windows_shrunk: u64,
    /// Windows that went through a bounce buffer: misaligned, or memory that a direct request must
    /// not be given.
    pub bounced: u64,
    /// Pieces of requests on direct files that went through the page cache.
    pub buffered: u64,
    /// Passes after the first of a request.
    pub resubmissions: u64,
    /// EAGAIN and EINTR answered by another try.
    pub retries: u64,
    /// Requests whose direct operations were sent to a worker of the kernel's, because the kernel
    /// and the file's filesystem do not carry them out safely on the submitting thread (gfs2 before
    /// Linux 6.5).
    pub offloaded: u64,
    /// Work that had to wait because as many fault-ins as allowed were in flight.
    pub slow_lane_waits: u64,
    /// Times that operations on memory which may fault were found stuck: as many as allowed were in
    /// flight, and none ended for a while.
    pub lanes_stuck: u64,
    /// Requests that had to wait because as many as allowed were in flight.
    pub admission_waits: u64,
    /// Requests in flight that were cancelled: their future was dropped, or they were asked to end.
    pub cancelled: u64,
    /// io_uring_enter calls that failed and were tried again (EAGAIN, EBUSY, EINTR).
    pub enter_retries: u64,
    /// Requests on direct files that met memory which can be touched but not pinned (`[vvar]`,
    /// mappings of device memory): the page cache moved its bytes by a copy. Memory that a look
    /// recognizes (mappings of files, memfd_secret) is bounced without a try, and not counted here.
    pub not_pinnable: u64,
    /// Abilities lost, each once.
    pub fallbacks: Vec<Fallback>,
    /// Time of calls that submit, apart from waiting; of some of them, see
    /// [`Timing`](crate::Timing).
    pub submit_time: Histogram,
    /// Time from start to end of a request; of some of them, see [`Timing`](crate::Timing).
    pub latency: Histogram,
}

impl Stats {
    /// Notes a lost ability, once.
    pub(crate) fn fallback(&mut self, what: Fallback) {
        // Errnos are few in each place; the bound is for safety only.
        if self.fallbacks.len() < 32 && !self.fallbacks.contains(&what) {
            self.fallbacks.push(what);
        }
    }

    /// Takes in what another engine has counted.
    pub(crate) fn add(&mut self, other: &Stats) {
        // By name, so that a new counter is not forgotten.
        let Stats {
            requests,
            ended,
            in_flight,
            bytes_read,
            bytes_written,
            operations,
            enters,
            early_starts,
            looked,
            look_calls,
            resident,
            prefix_submissions,
            fault_in_rounds,
            fault_in_ahead,
            fault_in_failed,
            reclaimed,
            windows_shrunk,
            bounced,
            not_pinnable,
            buffered,
            resubmissions,
            retries,
            offloaded,
            slow_lane_waits,
            lanes_stuck,
            admission_waits,
            cancelled,
            enter_retries,
            fallbacks,
            submit_time,
            latency,
        } = other;
        self.requests += requests;
        self.ended += ended;
        self.in_flight += in_flight;
        self.bytes_read += bytes_read;
        self.bytes_written += bytes_written;
        self.operations += operations;
        self.enters += enters;
        self.early_starts += early_starts;
        self.looked += looked;
        self.look_calls += look_calls;
        self.resident += resident;
        self.prefix_submissions += prefix_submissions;
        self.fault_in_rounds += fault_in_rounds;
        self.fault_in_ahead += fault_in_ahead;
        self.fault_in_failed += fault_in_failed;
        self.reclaimed += reclaimed;
        self.windows_shrunk += windows_shrunk;
        self.bounced += bounced;
        self.not_pinnable += not_pinnable;
        self.buffered += buffered;
        self.resubmissions += resubmissions;
        self.retries += retries;
        self.offloaded += offloaded;
        self.slow_lane_waits += slow_lane_waits;
        self.lanes_stuck += lanes_stuck;
        self.admission_waits += admission_waits;
        self.cancelled += cancelled;
        self.enter_retries += enter_retries;
        self.submit_time.add(submit_time);
        self.latency.add(latency);
        fallbacks
            .iter()
            .for_each(|what| self.fallback(what.clone()));
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "requests            {} ({} in flight, {} cancelled)",
            self.requests, self.in_flight, self.cancelled
        )?;
        writeln!(
            f,
            "bytes               {} read, {} written",
            self.bytes_read, self.bytes_written
        )?;
        writeln!(
            f,
            "operations          {} in {} enter calls ({} ahead of a turn, {} tried again)",
            self.operations, self.enters, self.early_starts, self.enter_retries
        )?;
        writeln!(
            f,
            "looked              {} ({} all resident, {} prefix submissions)",
            self.looked, self.resident, self.prefix_submissions
        )?;
        writeln!(
            f,
            "faulted in          {} windows, {} ahead, {} failed, {} reclaimed, {} shrunk",
            self.fault_in_rounds,
            self.fault_in_ahead,
            self.fault_in_failed,
            self.reclaimed,
            self.windows_shrunk
        )?;
        writeln!(
            f,
            "other ways          {} bounced, {} buffered, {} offloaded, {} not pinnable",
            self.bounced, self.buffered, self.offloaded, self.not_pinnable
        )?;
        writeln!(
            f,
            "again               {} resubmissions, {} retries",
            self.resubmissions, self.retries
        )?;
        writeln!(
            f,
            "waits               {} for admission, {} for a lane, which was stuck {} times",
            self.admission_waits, self.slow_lane_waits, self.lanes_stuck
        )?;
        match self.submit_time.count() {
            0 => writeln!(f, "submit call         not measured")?,
            _ => writeln!(f, "submit call         {}", self.submit_time)?,
        }
        write!(f, "latency             {}", self.latency)?;
        for fallback in &self.fallbacks {
            write!(f, "\nfallback            {fallback}")?;
        }
        Ok(())
    }
}
