//! What is known of one request: whose it is, what it asked of a model, how long each part took. At its end it becomes a line of the log and,
//! with the feature `otel`, a trace.
//!
//! Never in it: bodies, texts of users, keys, addresses of clients. Of the path only the pattern is kept, since the rest is what somebody
//! typed. It is found through the task that answers the request ([`Record::current`]), so that the engine's tickets can note what happens without
//! every function between knowing of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::engine::Usage;
use crate::keys::Scope;
use crate::server::gate::demanded;

tokio::task_local! {
    static CURRENT: Arc<Record>;
}

/// One request, from its arrival to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Record {
    /// What it is called, here and by whoever asked.
    pub(crate) id: String,
    pub(crate) method: String,
    /// The pattern of its address, such as `/api/conversations/{id}`.
    pub(crate) route: String,
    pub(crate) began: Instant,
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "traces need it"))]
    pub(crate) began_at: SystemTime,
    /// The header `traceparent`, which says what this is a part of.
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "traces need it"))]
    pub(crate) parent: Option<String>,
    facts: Mutex<Facts>,
}

/// What becomes known on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) status: u16,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) model: Option<Arc<str>>,
    /// Handed to the engine; of several replies, the first.
    pub(crate) submitted: Option<Instant>,
    pub(crate) admitted: Option<Instant>,
    pub(crate) first_token: Option<Instant>,
    pub(crate) last_token: Option<Instant>,
    /// Of all replies together.
    pub(crate) usage: Usage,
    /// Whoever asked has left before the end.
    pub(crate) is_cancelled: bool,
}

impl Record {
    pub(crate) fn new(id: String, method: &str, route: &str, parent: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            id,
            method: method.to_owned(),
            route: route.to_owned(),
            began: Instant::now(),
            began_at: SystemTime::now(),
            parent,
            facts: Mutex::default(),
        })
    }

    /// That of the request which this task answers, if it answers one.
    pub(crate) fn current() -> Option<Arc<Record>> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Carries out `work`, inside which this is the current one.
    pub(crate) async fn of<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), work).await
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request to the engine has begun.
    pub(crate) fn submitted(&self, model: &Arc<str>) {
        let mut facts = self.facts();
        facts.model.get_or_insert_with(|| model.clone());
        facts.submitted.get_or_insert_with(Instant::now);
    }

    /// It has left the queue.
    pub(crate) fn admitted(&self) {
        self.facts().admitted.get_or_insert_with(Instant::now);
    }

    /// A token of its reply has come.
    pub(crate) fn token(&self) {
        let (mut facts, now) = (self.facts(), Instant::now());
        facts.first_token.get_or_insert(now);
        facts.last_token = Some(now);
    }

    /// Its reply has ended and took so many tokens.
    pub(crate) fn finished(&self, usage: &Usage) {
        let mut facts = self.facts();
        facts.usage.prompt_tokens += usage.prompt_tokens;
        facts.usage.cached_tokens += usage.cached_tokens;
        facts.usage.completion_tokens += usage.completion_tokens;
    }

    /// Nobody wants the rest of it, after so many tokens.
    pub(crate) fn cancelled(&self, completion_tokens: usize) {
        let mut facts = self.facts();
        facts.usage.completion_tokens += completion_tokens;
        facts.is_cancelled = true;
    }

    /// The answer is over: its line in the log.
    fn end(&self) {
        let facts = self.facts().clone();
        #[cfg(feature = "otel")]
        crate::otel::export(self, &facts);
        // Probes and the page's own files come often and say little.
        let is_open = matches!(demanded(&self.route), None | Some(Scope::Metrics));
        let is_quiet = is_open && facts.status < 400;
        self.line(&facts, is_quiet);
    }

    fn line(&self, facts: &Facts, is_quiet: bool) {
        let ms = |from: Instant, to: Option<Instant>| {
            to.map(|to| milliseconds(to.saturating_duration_since(from)))
        };
        let worked = facts.submitted.map(|_| facts.usage);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "gigaro::request",
                    request_id = self.id,
                    key = facts.key.as_deref(),
                    method = self.method,
                    route = self.route,
                    status = facts.status,
                    model = facts.model.as_deref(),
                    prompt_tokens = worked.map(|usage| usage.prompt_tokens),
                    cached_tokens = worked.map(|usage| usage.cached_tokens),
                    completion_tokens = worked.map(|usage| usage.completion_tokens),
                    queue_ms = facts.submitted.and_then(|from| ms(from, facts.admitted)),
                    first_token_ms = ms(self.began, facts.first_token),
                    total_ms = milliseconds(self.began.elapsed()),
                    cancelled = facts.is_cancelled.then_some(true),
                    "request"
                )
            };
        }
        // A level is part of the place in the code.
        match facts.status {
            500.. => line!(error),
            _ if is_quiet => line!(debug),
            _ => line!(info),
        }
    }
}

/// In hundredths: a small model answers in fewer than one.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

/// Held by the answer's body; the record ends with it.
pub(crate) struct Until(pub(crate) Arc<Record>);

impl Drop for Until {
    fn drop(&mut self) {
        self.0.end();
    }
}
