//! How many people a server is enough for: a measurement of the served model under several numbers of clients, and arithmetic on it.
//!
//! What is measured is an exchange, a prompt that is read and a reply that is written, as the engine does it, without HTTP. What people do,
//! and what a machine costs, nobody can measure beforehand: those are [`Assumptions`], and every figure that comes of them is theirs as much as
//! the measurement's. Prompts share nothing here, so that a cache that helps with the next turns of real conversations makes it better.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gigaro_models::generate::SamplingParams;
use serde::Serialize;

use crate::engine::{Event, Failure, GenerateRequest, ReadyModel};

const DAY_S: f64 = 24.0 * 60.0 * 60.0;
/// Days in which ChatGPT had its first million users: Sam Altman, 5 December 2022.
pub const LAUNCH_DAYS: u32 = 5;
/// And how many those were.
pub const LAUNCH_USERS: f64 = 1e6;

/// One message and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Tokens that are read.
    pub prompt_tokens: usize,
    /// Tokens that are written.
    pub reply_tokens: usize,
}

/// What a number of clients got who asked again as soon as they were answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// How many.
    pub clients: usize,
    /// Exchanges of all of them together.
    pub exchanges_per_s: f64,
    /// Tokens that were read, of all together.
    pub prompt_tokens_per_s: f64,
    /// Tokens that were written, of all together.
    pub reply_tokens_per_s: f64,
    /// Time to the first token, which 95 of 100 do not exceed.
    pub first_token_p95_s: f64,
    /// Mean time from one token to the next.
    pub between_tokens_s: f64,
}

/// What is taken to be so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assumptions {
    /// Messages that a user sends on a day on which he comes.
    pub messages_per_day: f64,
    /// How much more is asked in the busiest hour than on average.
    pub peak_factor: f64,
    /// Longest time to the first token that 95 of 100 may have.
    pub first_token_s: f64,
    /// What one machine as the measured one costs in an hour.
    pub price_per_hour: f64,
}

/// What one replica is enough for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Replica {
    /// The measurement that it goes by.
    pub point: Point,
    /// Users a day.
    pub users_per_day: f64,
    /// Tokens a day that those read and write.
    pub tokens_per_day: f64,
}

/// What a number of users a day takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fleet {
    /// Users a day.
    pub users: f64,
    /// Tokens a day.
    pub tokens_per_day: f64,
    /// Machines as the measured one.
    pub replicas: f64,
    /// Memory of all of them.
    pub memory_bytes: f64,
    /// What they cost on that day.
    pub price_per_day: f64,
}

impl Assumptions {
    /// What a replica is enough for by the best of the measurements that are quick enough; `None` if none is.
    #[must_use]
    pub fn replica(&self, points: &[Point], exchange: Exchange) -> Option<Replica> {
        let quick = points
            .iter()
            .filter(|p| p.first_token_p95_s <= self.first_token_s);
        let point = *quick.max_by(|a, b| a.exchanges_per_s.total_cmp(&b.exchanges_per_s))?;
        let users_per_day =
            point.exchanges_per_s * DAY_S / (self.messages_per_day * self.peak_factor);
        Some(Replica {
            point,
            users_per_day,
            tokens_per_day: users_per_day * self.tokens_per_user(exchange),
        })
    }

    /// What so many users a day take.
    #[must_use]
    pub fn fleet(&self, replica: &Replica, users: f64, exchange: Exchange, memory: u64) -> Fleet {
        let replicas = (users / replica.users_per_day).ceil();
        Fleet {
            users,
            tokens_per_day: users * self.tokens_per_user(exchange),
            replicas,
            memory_bytes: replicas * memory as f64,
            price_per_day: replicas * 24.0 * self.price_per_hour,
        }
    }

    /// The first days of ChatGPT: each with as many further users as the others, all of whom come again every day.
    #[must_use]
    pub fn launch(&self, replica: &Replica, exchange: Exchange, memory: u64) -> Vec<Fleet> {
        let users = |day: u32| LAUNCH_USERS * f64::from(day) / f64::from(LAUNCH_DAYS);
        let days = 1..=LAUNCH_DAYS;
        days.map(|day| self.fleet(replica, users(day), exchange, memory))
            .collect()
    }

    fn tokens_per_user(&self, exchange: Exchange) -> f64 {
        self.messages_per_day * (exchange.prompt_tokens + exchange.reply_tokens) as f64
    }
}

/// What happened to one exchange.
struct Took {
    first_token: Duration,
    between: Duration,
}

/// Lets so many clients ask, each `rounds` times, one after the other.
///
/// # Errors
/// If the engine refuses or fails, as with an exchange that is longer than the context.
pub fn measure(
    model: &ReadyModel,
    clients: usize,
    rounds: usize,
    exchange: Exchange,
) -> Result<Point, Failure> {
    // Nothing but waiting is done on it.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|_| Failure::Bug)?;
    let started = Instant::now();
    let all = (0..clients).map(|client| client_of(model, client, rounds, exchange));
    let all = runtime.block_on(join_all(all));
    let seconds = started.elapsed().as_secs_f64();
    let mut took = Vec::with_capacity(clients * rounds);
    for one in all {
        took.extend(one?);
    }
    let exchanges = took.len() as f64;
    let mut first: Vec<f64> = took.iter().map(|t| t.first_token.as_secs_f64()).collect();
    first.sort_by(f64::total_cmp);
    let at = (first.len() as f64 * 0.95).ceil() as usize;
    let between: f64 = took.iter().map(|t| t.between.as_secs_f64()).sum();
    Ok(Point {
        clients,
        exchanges_per_s: exchanges / seconds,
        prompt_tokens_per_s: exchanges * exchange.prompt_tokens as f64 / seconds,
        reply_tokens_per_s: exchanges * exchange.reply_tokens as f64 / seconds,
        first_token_p95_s: first
            .get(at.saturating_sub(1))
            .copied()
            .unwrap_or(f64::INFINITY),
        between_tokens_s: between / exchanges,
    })
}

async fn client_of(
    model: &ReadyModel,
    client: usize,
    rounds: usize,
    exchange: Exchange,
) -> Result<Vec<Took>, Failure> {
    let name: Arc<str> = format!("client {client}").into();
    let mut took = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let request = GenerateRequest {
            prompt: prompt(model.facts.vocab_size, client * rounds + round, exchange),
            params: SamplingParams {
                max_tokens: exchange.reply_tokens,
                ignore_eos: true,
                seed: (client * rounds + round) as u64,
                ..SamplingParams::default()
            },
            prompt_logprobs: None,
            constraint: None,
            embed: false,
            tenant: name.clone(),
            cache_scope: name.clone(),
        };
        took.push(ask(model, request).await?);
    }
    Ok(took)
}

/// Tokens that begin like no other prompt's.
fn prompt(vocab_size: usize, number: usize, exchange: Exchange) -> Vec<u32> {
    let token = |i: usize| ((number + 1) * 7919 + i * 104_729) % vocab_size.max(1);
    (0..exchange.prompt_tokens)
        .map(|i| token(i) as u32)
        .collect()
}

async fn ask(model: &ReadyModel, request: GenerateRequest) -> Result<Took, Failure> {
    let (started, mut first, mut last, mut tokens) = (Instant::now(), None, None, 0_u32);
    let mut ticket = model.engine.submit(request);
    while let Some(event) = ticket.next().await {
        match event {
            Event::Token { .. } => {
                let now = Instant::now();
                first.get_or_insert(now);
                last = Some(now);
                tokens += 1;
            }
            Event::Failed(failure) => return Err(failure),
            Event::Admitted
            | Event::PromptLogprobs(_)
            | Event::Embedding(_)
            | Event::Finished { .. } => {}
        }
    }
    let (Some(first), Some(last)) = (first, last) else {
        return Err(Failure::Bug);
    };
    Ok(Took {
        first_token: first - started,
        between: (last - first) / (tokens - 1).max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: Exchange = Exchange {
        prompt_tokens: 100,
        reply_tokens: 50,
    };

    fn point(clients: usize, exchanges_per_s: f64, first_token_p95_s: f64) -> Point {
        Point {
            clients,
            exchanges_per_s,
            prompt_tokens_per_s: 0.0,
            reply_tokens_per_s: 0.0,
            first_token_p95_s,
            between_tokens_s: 0.0,
        }
    }

    fn assumptions() -> Assumptions {
        Assumptions {
            messages_per_day: 10.0,
            peak_factor: 2.0,
            first_token_s: 1.0,
            price_per_hour: 0.5,
        }
    }

    #[test]
    fn a_replica_goes_by_the_best_measurement_that_is_quick_enough() {
        let points = [point(1, 1.0, 0.1), point(8, 2.0, 0.9), point(32, 3.0, 1.1)];
        let replica = assumptions().replica(&points, EXCHANGE).expect("some are");
        assert_eq!(replica.point.clients, 8);
        // Two exchanges a second for a day, ten for each user, and half of it kept for the busiest hour.
        assert_eq!(replica.users_per_day, 2.0 * 86_400.0 / 20.0);
        assert_eq!(replica.tokens_per_day, 8640.0 * 1500.0);
        assert_eq!(assumptions().replica(&points[2..], EXCHANGE), None);
    }

    #[test]
    fn machines_are_whole_and_the_launch_ends_with_a_million() {
        let replica = assumptions().replica(&[point(8, 2.0, 0.9)], EXCHANGE);
        let replica = replica.expect("it is quick");
        let fleet = assumptions().fleet(&replica, 8641.0, EXCHANGE, 1 << 30);
        assert_eq!(fleet.replicas, 2.0);
        assert_eq!(fleet.price_per_day, 24.0);
        assert_eq!(fleet.memory_bytes, 2.0 * f64::from(1 << 30));
        let launch = assumptions().launch(&replica, EXCHANGE, 1);
        let users: Vec<f64> = launch.iter().map(|day| day.users).collect();
        assert_eq!(users, [2e5, 4e5, 6e5, 8e5, 1e6]);
        assert_eq!(launch[4].replicas, 116.0);
    }
}
