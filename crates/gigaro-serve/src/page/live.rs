//! Replies under way: each is read from the API by a task of its own, whoever looks, and looked at by any number of pages.
//!
//! What has been said is kept until the reply is over, so that a page that comes late sees it from the beginning.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use std::convert::Infallible;

/// Time between two signs of life on a stream that has nothing to say.
const PING: Duration = Duration::from_secs(10);

/// A line of a stream: the kind of event, none for a part of the reply, and its JSON.
type Line = (Option<&'static str>, Arc<str>);

/// All replies under way, by the number of the answer.
pub(super) struct Live {
    replies: Mutex<HashMap<i64, Arc<Reply>>>,
    count: watch::Sender<usize>,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            replies: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }
}

impl Live {
    /// A reply that begins.
    pub(super) fn begin(&self, answer: i64, conversation: i64, owner: Arc<str>) -> Arc<Reply> {
        let reply = Arc::new(Reply {
            conversation,
            owner,
            lines: Mutex::default(),
            progress: watch::Sender::new((0, false)),
            stop: watch::Sender::new(false),
        });
        self.replies().insert(answer, reply.clone());
        self.count.send_modify(|count| *count += 1);
        reply
    }

    /// A reply that is over. Pages that follow it see it to its end.
    pub(super) fn end(&self, answer: i64) {
        if let Some(reply) = self.replies().remove(&answer) {
            reply.progress.send_modify(|(_, over)| *over = true);
            self.count.send_modify(|count| *count -= 1);
        }
    }

    /// The reply of that number, if it is under way and this owner's.
    pub(super) fn get(&self, answer: i64, owner: &str) -> Option<Arc<Reply>> {
        let reply = self.replies().get(&answer).cloned();
        reply.filter(|reply| *reply.owner == *owner)
    }

    /// Stops all replies of a conversation.
    pub(super) fn stop_all(&self, conversation: i64) {
        for reply in self.replies().values() {
            if reply.conversation == conversation {
                reply.stop();
            }
        }
    }

    /// Returns when no reply is under way.
    pub(super) async fn idle(&self) {
        // An error means that this very object is gone.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn replies(&self) -> MutexGuard<'_, HashMap<i64, Arc<Reply>>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reply under way.
pub(super) struct Reply {
    conversation: i64,
    owner: Arc<str>,
    lines: Mutex<Vec<Line>>,
    /// How many lines there are, and whether that is all.
    progress: watch::Sender<(usize, bool)>,
    stop: watch::Sender<bool>,
}

impl Reply {
    /// Says something to all who look.
    pub(super) fn say(&self, kind: Option<&'static str>, data: impl Into<Arc<str>>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((kind, data.into()));
        let count = lines.len();
        drop(lines);
        self.progress.send_modify(|(lines, _)| *lines = count);
    }

    /// Asks the task that reads the reply to stop.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns when somebody has asked to stop.
    pub(super) async fn stopped(&self) {
        // An error cannot occur while `self` is there.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// The reply from its beginning, as server-sent events.
    pub(super) fn follow(self: Arc<Self>) -> Response {
        let progress = self.progress.subscribe();
        let events = stream::unfold(
            (self, progress, 0),
            |(reply, mut progress, at)| async move {
                let (_, over) = *progress
                    .wait_for(|(lines, over)| *lines > at || *over)
                    .await
                    .ok()?;
                let line = {
                    let lines = reply.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.get(at).cloned()
                };
                // Only at the end is there nothing further.
                debug_assert!(line.is_some() || over);
                let (kind, data) = line?;
                let event = Event::default();
                let event = match kind {
                    Some(kind) => event.event(kind),
                    None => event,
                };
                let event = event.data(&*data);
                Some((Ok::<_, Infallible>(event), (reply, progress, at + 1)))
            },
        );
        Sse::new(events)
            .keep_alive(KeepAlive::new().interval(PING))
            .into_response()
    }
}
