//! Ctrl-C: the first asks the work at hand to stop, the second leaves at once.
//!
//! A request to terminate (`kill`, a batch system at its time limit) counts as the first. What a command does about it is its own
//! business: it looks between steps or tokens, and saves if there is something to save.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use gigaro_train::interrupt::StopFlag;

use crate::failure::INTERRUPTED;

/// What Ctrl-C does at present. The system lets a program set its handler once; a run that ends in a chat has two.
type Action = Box<dyn FnMut() + Send>;

/// Catches Ctrl-C from now on, once for the whole command; `notice` is the line that the first one prints.
///
/// # Errors
/// If the system does not let signals be caught.
pub(crate) fn catch(notice: &'static str) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let seen = flag.clone();
    on_signal(Box::new(move || {
        if seen.request() {
            std::process::exit(INTERRUPTED.into());
        }
        let _ = writeln!(std::io::stderr(), "\n{notice}");
    }))?;
    Ok(flag)
}

/// One piece of work after another, each of which Ctrl-C stops by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stoppable(Arc<AtomicBool>);

impl Stoppable {
    /// The next piece of work begins; what stopped the one before no longer counts.
    pub(crate) fn begin(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether the piece of work at hand is to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Catches Ctrl-C from now on; a second one during the same piece of work leaves.
///
/// # Errors
/// If the system does not let signals be caught.
pub(crate) fn catch_each() -> Result<Stoppable> {
    let work = Stoppable::default();
    let seen = work.clone();
    on_signal(Box::new(move || {
        if seen.0.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
    }))?;
    Ok(work)
}

fn on_signal(action: Action) -> Result<()> {
    static ACTION: OnceLock<Mutex<Action>> = OnceLock::new();
    let mut given = Some(action);
    let current =
        ACTION.get_or_init(|| Mutex::new(given.take().unwrap_or_else(|| Box::new(|| ()))));
    match given {
        // Someone was here before: the handler is set, only what it does changes.
        Some(action) => {
            *current.lock().unwrap_or_else(PoisonError::into_inner) = action;
            Ok(())
        }
        None => {
            ctrlc::set_handler(move || current.lock().unwrap_or_else(PoisonError::into_inner)())
                .context("cannot catch Ctrl-C")
        }
    }
}
