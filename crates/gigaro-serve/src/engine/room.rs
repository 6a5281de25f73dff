//! The loop: take orders, forget what nobody wants, admit, read, draw, tell.
//!
//! Who is next is decided in `queue.rs`, what is read in `schedule.rs`, where it goes in `rows.rs`; the calls of the model are in
//! `step.rs`. Everything of one model happens on one thread, so nothing here is locked; products and draws use all threads.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use gigaro_models::generate::{FinishReason, Sampled, TokenLogprobs};
use gigaro_models::gpt::KvCache;
use gigaro_tensor::DeviceFailure;
use gigaro_tensor::cpu::threads::parallel_chunks_mut;

use super::EngineSettings;
use super::queue::{FairQueue, Overdue};
use super::request::{Event, Failure, Order, Usage};
use super::rows::{self, Following, Row, Scope};
use super::schedule;
use super::step::{self, Reading};
use super::text::{Outlook, Score, Text};
use super::variant::Variant;
use crate::metrics::ModelMetrics;

/// A token, or why there is none; `None` where none was wanted.
type Drawn = Option<Result<Sampled, Failure>>;

/// A cache and all texts that are under way or wait. Each brings the weights that it is written with.
pub(super) struct Room {
    settings: EngineSettings,
    cache: KvCache,
    /// Pages of the cache.
    pages: usize,
    context: usize,
    rows: Vec<Row>,
    /// In the order of their admission.
    texts: Vec<Text>,
    queue: FairQueue<Order>,
    /// Admissions so far.
    uses: u64,
    metrics: ModelMetrics,
}

/// Pages that a text may come to hold.
fn pages_of(order: &Order, context: usize) -> usize {
    let request = &order.request;
    let tokens = request
        .prompt
        .len()
        .saturating_add(request.params.max_tokens);
    tokens.min(context).div_ceil(KvCache::PAGE_TOKENS)
}

impl Room {
    /// A room for texts of `variant`, and of others of its shape.
    pub(super) fn new(variant: &Variant, settings: EngineSettings, metrics: ModelMetrics) -> Self {
        let model = &variant.model;
        let whole = model.config.max_seq_len;
        let context = settings.context.map_or(whole, |n| n.clamp(1, whole));
        let slots = settings.slots.max(1);
        let cache = KvCache::with_capacity(model, slots, context);
        let whole_text = context.div_ceil(KvCache::PAGE_TOKENS);
        let affordable = settings.kv_bytes / (cache.page_bytes() as u64).max(1);
        // Of one whole text at least, and not more than all slots can ever hold.
        let pages = (affordable as usize).clamp(whole_text, slots * whole_text);
        metrics
            .kv_capacity
            .set((pages * KvCache::PAGE_TOKENS) as i64);
        Self {
            cache: cache.with_pages(pages),
            pages,
            rows: vec![Row::default(); slots],
            texts: Vec::new(),
            queue: FairQueue::new(settings.queue_len),
            uses: 0,
            settings,
            context,
            metrics,
        }
    }

    pub(super) fn context(&self) -> usize {
        self.context
    }

    pub(super) fn slots(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn kv_bytes(&self) -> u64 {
        (self.cache.page_bytes() * self.pages) as u64
    }

    /// Serves until nobody can order any more.
    pub(super) fn run(mut self, inbox: &Receiver<Order>) {
        while self.take_orders(inbox) {
            self.forget_unwanted();
            self.admit();
            if !self.texts.is_empty() {
                self.step();
            }
            self.report();
        }
    }

    /// Takes in what has come; waits if there is nothing to do. False if there is nothing to do and nothing can come.
    fn take_orders(&mut self, inbox: &Receiver<Order>) -> bool {
        if self.texts.is_empty() && self.queue.len() == 0 {
            match inbox.recv() {
                Ok(order) => self.enqueue(order),
                Err(_) => return false,
            }
        }
        loop {
            match inbox.try_recv() {
                Ok(order) => self.enqueue(order),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn enqueue(&mut self, order: Order) {
        let tenant = order.request.tenant.clone();
        let deadline = order.submitted + self.settings.queue_time;
        if let Err(order) = self.queue.push(&tenant, deadline, order) {
            let waiting = self.queue.len();
            self.refuse(&order, Failure::QueueFull { waiting });
        }
    }

    fn refuse(&self, order: &Order, failure: Failure) {
        self.metrics
            .ended(&order.request.tenant, "refused", &Usage::default());
        let _ = order.events.send(Event::Failed(failure));
    }

    /// Ends what nobody waits for any more, and what has waited too long.
    fn forget_unwanted(&mut self) {
        let out = self
            .queue
            .take_out(Instant::now(), |order| !order.events.is_closed());
        for (Overdue(overdue), order) in out {
            if overdue {
                let seconds = self.settings.queue_time.as_secs();
                self.refuse(&order, Failure::Expired { seconds });
            } else {
                let outcome = FinishReason::Cancelled.as_str();
                self.metrics
                    .ended(&order.request.tenant, outcome, &Usage::default());
            }
        }
        let (rows, metrics) = (&mut self.rows, &self.metrics);
        self.texts.retain(|text| {
            let unwanted = text.is_unwanted();
            if unwanted {
                text.cancel(metrics);
                rows[text.row].free();
            }
            !unwanted
        });
    }

    /// Gives free rows to whoever is next, as long as there are pages for all that they may come to write.
    fn admit(&mut self) {
        while self.rows.iter().any(|row| !row.busy) {
            let reserved: usize = self.rows.iter().map(|row| row.reserved).sum();
            let (left, context) = (self.pages - reserved, self.context);
            let Some(order) = self.queue.pop_if(|order| pages_of(order, context) <= left) else {
                return;
            };
            let (prompt, params) = (&order.request.prompt, &order.request.params);
            let longest = self.context - usize::from(params.max_tokens > 0);
            if prompt.is_empty() || prompt.len() > longest {
                self.refuse(&order, Failure::Bug);
                continue;
            }
            match self.settle(&order) {
                Some((row, kept, follows)) => {
                    self.texts.push(Text::begin(order, row, kept, follows));
                }
                None => self.refuse(&order, Failure::Bug),
            }
        }
    }

    /// Makes a row ready for a text; gives the row, how many tokens of the text are in it, and the text to wait for.
    fn settle(&mut self, order: &Order) -> Option<(usize, usize, Option<Following>)> {
        let scope = &Scope {
            variant: order.variant.id,
            owner: order.request.cache_scope.clone(),
        };
        let prompt = &order.request.prompt;
        // Where something is wanted of every token, every token has to be read.
        let known = if order.request.prompt_logprobs.is_some() || order.request.embed {
            &[]
        } else {
            &prompt[..]
        };
        let place = rows::place(&self.rows, scope, known)?;
        let reading = self.texts.iter();
        let reading = reading.filter_map(|text| Some((text.row, text.prompt_being_read()?)));
        let follows = rows::follow(&self.rows, reading, scope, known, place.kept);
        if place.from == place.row {
            self.cache.truncate(place.row, place.kept);
        } else {
            self.cache.copy_prefix(place.from, place.row, place.kept);
        }
        self.uses += 1;
        self.rows[place.row] = Row {
            scope: Some(scope.clone()),
            tokens: prompt[..place.kept].to_vec(),
            reusable: place.kept,
            busy: true,
            reserved: pages_of(order, self.context),
            used: self.uses,
        };
        self.make_way();
        Some((place.row, place.kept, follows))
    }

    /// Forgets texts that nobody is writing, those used longest ago first, until there are pages for all that those under way may come to
    /// hold. A page that several share is counted for each, so there may be more than it seems, never fewer.
    fn make_way(&mut self) {
        loop {
            let idle = |row: usize| self.cache.len(row).div_ceil(KvCache::PAGE_TOKENS);
            let rows = self.rows.iter().enumerate();
            let held: usize = rows
                .map(|(i, row)| if row.busy { row.reserved } else { idle(i) })
                .sum();
            if held <= self.pages {
                return;
            }
            let rows = self.rows.iter().enumerate();
            let left = rows.filter(|(i, row)| !row.busy && idle(*i) > 0);
            let Some((oldest, _)) = left.min_by_key(|(_, row)| row.used) else {
                return;
            };
            self.cache.truncate(oldest, 0);
            self.rows[oldest] = Row::default();
        }
    }

    /// Gives texts that wait for another one's beginning that beginning, once it is read; what there is of it, if the other one is gone.
    fn catch_up(&mut self) {
        for text in &mut self.texts {
            let Some(Following { row, used, common }) = text.follows else {
                continue;
            };
            let leader = &self.rows[row];
            let is_there = leader.used == used;
            let ready = if is_there {
                leader.reusable.min(common)
            } else {
                0
            };
            if is_there && leader.busy && ready < common {
                continue;
            }
            text.follows = None;
            if ready > text.prompt_read() {
                self.cache.copy_prefix(row, text.row, ready);
                let own = &mut self.rows[text.row];
                own.tokens = text.have_copied(ready).to_vec();
                own.reusable = ready;
            }
        }
    }

    /// Reads on for each text, and draws for those that are read: one call of the model for each variant.
    fn step(&mut self) {
        let started = Instant::now();
        self.catch_up();
        let unread: Vec<_> = self.texts.iter().map(Text::unread).collect();
        let shares = schedule::plan(&unread, self.settings.prompt_tokens_per_step);
        for (text, &share) in self.texts.iter().zip(&shares).filter(|(_, n)| **n > 0) {
            let part = text.part(share);
            self.rows[text.row].tokens.extend_from_slice(part.ids);
        }
        let (texts, cache) = (&self.texts, &mut self.cache);
        let read_from = Instant::now();
        let readings = catch_unwind(AssertUnwindSafe(|| step::read(texts, &shares, cache)));
        let in_model = read_from.elapsed();
        match readings {
            Ok(readings) => self.go_on(&readings, &shares),
            Err(payload) => self.start_afresh(&cause(&*payload)),
        }
        self.metrics.step(started.elapsed(), in_model);
    }

    /// Scores, draws and tells.
    fn go_on(&mut self, readings: &[Reading], shares: &[usize]) {
        let results: Vec<(usize, &[f32])> = readings.iter().flat_map(Reading::by_text).collect();
        let mut scores = self.score(&results, shares);
        for &(i, values) in &results {
            let text = &mut self.texts[i];
            let of_this = scores.extract_if(.., |(text, _)| *text == i);
            let of_this = of_this.map(|(_, score)| score).collect();
            text.have_read(shares[i], of_this);
            if text.is_embedded() {
                text.pool(values);
            }
            let row = &mut self.rows[text.row];
            row.reusable = row.tokens.len();
        }
        let drawn = self.draw(&results);
        self.tell(drawn);
    }

    /// Log-probabilities of the prompts' tokens, where they were asked for, with the index of the text.
    fn score(&self, results: &[(usize, &[f32])], shares: &[usize]) -> Vec<(usize, TokenLogprobs)> {
        let mut jobs = Vec::new();
        for &(i, logits) in results {
            let text = &self.texts[i];
            let Some((tokens, alternatives)) = text.to_score(shares[i]) else {
                continue;
            };
            let v = text.variant().model.config.vocab_size;
            for (&token, logits) in tokens.iter().zip(logits.chunks_exact(v)) {
                let score = Score {
                    logits,
                    token,
                    alternatives,
                    result: None,
                };
                jobs.push((i, score));
            }
        }
        parallel_chunks_mut(&mut jobs, 1, |_, job| job[0].1.compute());
        let done = jobs.into_iter();
        done.filter_map(|(i, score)| Some((i, score.result?)))
            .collect()
    }

    /// Draws a token for each text whose prompt is read: the result by the index of the text.
    fn draw(&mut self, results: &[(usize, &[f32])]) -> Vec<(usize, Drawn)> {
        let mut found: Vec<Option<&[f32]>> = vec![None; self.texts.len()];
        for &(i, values) in results {
            found[i] = Some(values);
        }
        let texts = self.texts.iter_mut().enumerate().zip(&found);
        let mut jobs: Vec<_> = texts
            .filter_map(|((i, text), values)| {
                let values = (*values)?;
                text.is_all_read().then_some((i, text, values, None))
            })
            .collect();
        // Drawing goes through the whole vocabulary, some of it in f64 or by a parser, so all threads take part.
        parallel_chunks_mut(&mut jobs, 1, |_, job| {
            let (_, text, values, result) = &mut job[0];
            if text.wants_tokens() {
                let v = text.variant().model.config.vocab_size;
                *result = Some(text.draw(&values[values.len() - v..]));
            }
        });
        jobs.into_iter()
            .map(|(i, _, _, result)| (i, result))
            .collect()
    }

    /// Takes the drawn tokens in, tells them, and lets go of the texts that are over. A text without a token only wanted its prompt
    /// read.
    fn tell(&mut self, drawn: Vec<(usize, Drawn)>) {
        let mut over = vec![false; self.texts.len()];
        for (i, drawn) in drawn {
            let text = &mut self.texts[i];
            let room = self.cache.room(text.row);
            let outlook = match drawn {
                Some(Ok(sampled)) => text.take(sampled, room, &self.metrics),
                Some(Err(failure)) => {
                    text.fail(failure, &self.metrics);
                    Outlook::IsOver
                }
                None => {
                    text.finish(FinishReason::Length, &self.metrics);
                    Outlook::IsOver
                }
            };
            over[i] = outlook == Outlook::IsOver;
            if outlook == Outlook::IsOver {
                self.rows[text.row].free();
            }
        }
        let mut over = over.into_iter();
        self.texts.retain(|_| !over.next().unwrap_or(false));
    }

    /// After a panic in the model nothing in the cache can be trusted: all texts under way end, and those that wait begin with an empty
    /// one.
    fn start_afresh(&mut self, cause: &Failure) {
        for text in self.texts.drain(..) {
            text.fail(cause.clone(), &self.metrics);
        }
        let slots = self.rows.len();
        self.rows = vec![Row::default(); slots];
        self.cache.clear();
    }

    fn report(&self) {
        let held: usize = self.rows.iter().map(|row| row.tokens.len()).sum();
        self.metrics.kv_tokens.set(held as i64);
        self.metrics.running.set(self.texts.len() as i64);
        self.metrics.waiting.set(self.queue.len() as i64);
    }
}

/// What those are told whose replies a panic has ended: a card that is lost or full is no bug.
fn cause(payload: &(dyn Any + Send)) -> Failure {
    match payload.downcast_ref::<DeviceFailure>() {
        Some(failure) => {
            tracing::error!("{failure}");
            Failure::Weights(failure.to_string())
        }
        None => Failure::Bug,
    }
}
