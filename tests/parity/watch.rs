//! Watches over one long run: a case that does not end is printed, and the program is ended.
//!
//! A process for every case would cost more than the case.

use super::case::Case;
use crate::common::sys;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// The watchman; one for a run.
pub(crate) struct Watch {
    alive: Sender<()>,
    now: Arc<Mutex<Option<Case>>>,
}

/// A case that is being watched.
pub(crate) struct During<'a>(&'a Watch);

impl Watch {
    pub(crate) fn start(name: &'static str) -> Self {
        let (alive, news) = channel();
        let now = Arc::new(Mutex::new(None::<Case>));
        let seen = Arc::clone(&now);
        std::thread::spawn(move || {
            loop {
                match news.recv_timeout(DEADLINE) {
                    Ok(()) => (),
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some(case) = &*seen.lock().unwrap() {
                            sys::say(&format!(
                                "{name}: this case did not end in {DEADLINE:?}: {case:#?}\n"
                            ));
                            std::process::abort();
                        }
                    }
                }
            }
        });
        Self { alive, now }
    }

    pub(crate) fn during(&self, case: &Case) -> During<'_> {
        *self.now.lock().unwrap() = Some(case.clone());
        self.alive
            .send(())
            .expect("the watchman lives as long as the run");
        During(self)
    }
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        *self.0.now.lock().unwrap() = None;
    }
}
