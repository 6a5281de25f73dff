//! What is looked after every second beside the requests: files of keys and certificates that may have changed, and use that is to be stored.
//!
//! A thread of its own, because files and databases make it wait.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::app::{Access, App};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread. Dropping it stores what is left to store.
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(app: Arc<App>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let look_after = move || {
            let mut said = Complaints::default();
            let mut is_stored = true;
            loop {
                let end = stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
                refresh(&app, &mut said);
                is_stored = store(&app, is_stored);
                if end {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(look_after)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // That the sender is gone is the order to end.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What was complained of last about each file.
#[derive(Default)]
struct Complaints {
    keys: Option<String>,
    certificate: Option<String>,
}

fn refresh(app: &App, said: &mut Complaints) {
    if let Access::Keys(keys) = app.access() {
        let looked = keys.refresh().map_err(|error| error.to_string());
        tell("keys", looked, &mut said.keys);
    }
    if let Some(tls) = &app.front().tls {
        let looked = tls.refresh().map_err(|error| error.to_string());
        tell("certificate", looked, &mut said.certificate);
    }
}

/// Tells what a look at a file has shown: that it has changed or, once, that it cannot be used.
fn tell(what: &str, looked: Result<bool, String>, said: &mut Option<String>) {
    match looked {
        Ok(has_changed) => {
            *said = None;
            if has_changed {
                tracing::info!(what, "read again, since it has changed");
            }
        }
        Err(sentence) => {
            if said.as_ref() != Some(&sentence) {
                tracing::warn!(what, error = sentence, "stays as it was");
            }
            *said = Some(sentence);
        }
    }
}

/// Whether it worked; trouble is told when it begins.
fn store(app: &App, worked_before: bool) -> bool {
    let Access::Keys(keys) = app.access() else {
        return true;
    };
    match keys.ledger().save() {
        Ok(()) => true,
        Err(error) => {
            if worked_before {
                tracing::warn!(%error, "use is counted on and will be stored when that is possible");
            }
            false
        }
    }
}
