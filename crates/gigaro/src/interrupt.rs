//! Ctrl-C: the first asks the work at hand to stop, the second leaves at once.
//!
//! A request to terminate (`kill`, a batch system at its time limit) and a lost terminal count as the first; to a server the latter is the
//! request to read its models anew. What a command does about it is its own business: it looks between steps or tokens, and saves if there is
//! something to save.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use gigaro_train::interrupt::StopFlag;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::INTERRUPTED;

/// What a signal does at present, by its number; a run that ends in a chat has one after the other.
type Action = Box<dyn FnMut(i32) + Send>;

/// Catches Ctrl-C from now on, once for the whole command; `notice` is the line that the first one prints.
///
/// # Errors
/// If the system does not let signals be caught.
pub(crate) fn catch(notice: &'static str) -> Result<StopFlag> {
    catch_some(notice, |_| false)
}

/// As [`catch`], where SIGHUP does not stop but is the wish to read models anew; the flag says that it came.
///
/// # Errors
/// As [`catch`].
pub(crate) fn catch_for_server(notice: &'static str) -> Result<(StopFlag, Arc<AtomicBool>)> {
    let wanted = Arc::new(AtomicBool::new(false));
    let seen = wanted.clone();
    let stop = catch_some(notice, move |signal| {
        let hung_up = signal == SIGHUP;
        seen.fetch_or(hung_up, Ordering::SeqCst);
        hung_up
    })?;
    Ok((stop, wanted))
}

/// Catches signals; `other` is asked first whether one means something else than to stop.
fn catch_some(
    notice: &'static str,
    other: impl Fn(i32) -> bool + Send + 'static,
) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let seen = flag.clone();
    on_signal(Box::new(move |signal| {
        if other(signal) {
            return;
        }
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
    on_signal(Box::new(move |_| {
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
        ACTION.get_or_init(|| Mutex::new(given.take().unwrap_or_else(|| Box::new(|_| ()))));
    match given {
        // Someone was here before: the handler is set, only what it does changes.
        Some(action) => {
            *current.lock().unwrap_or_else(PoisonError::into_inner) = action;
            Ok(())
        }
        None => {
            let mut signals =
                Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch Ctrl-C")?;
            let listen = move || {
                for signal in signals.forever() {
                    current.lock().unwrap_or_else(PoisonError::into_inner)(signal);
                }
            };
            std::thread::Builder::new()
                .name("signals".to_owned())
                .spawn(listen)
                .context("cannot catch Ctrl-C")?;
            Ok(())
        }
    }
}
