//! `gigaro capacity`: how many people this machine is enough for with a model, and what more people take.
//!
//! Measured and computed by [`gigaro_serve::capacity`]; here are the flags, which are the assumptions, and the words.

mod page;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use gigaro_serve::capacity::{Assumptions, Exchange, Fleet, LAUNCH_DAYS, Point, Replica, measure};
use gigaro_serve::engine::{EngineSettings, ModelState};
use gigaro_serve::server::{Access, App, Front, Limits, ServedModel, Settings};
use gigaro_train::quantity::{Bytes, Count};
use serde_json::json;

use super::serve;
use crate::flags::{MachineArgs, Weights};
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro capacity                                        the last finished run
  gigaro capacity runs/speedrun --dtype int8 --clients 1,8,32
  gigaro capacity --messages-per-day 20 --prompt-tokens 400 --reply-tokens 200 --price-per-hour 0.10";

/// Numbers of users that the table is made for.
const USERS: [f64; 4] = [1e3, 1e4, 1e5, 1e6];
/// How often each client asks in a measurement.
const ROUNDS: usize = 3;

/// Measure how many users this machine is enough for, and compute what more take
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Checkpoint or folder of a run [default: the last finished run]
    checkpoint: Option<PathBuf>,

    /// What weights are held in
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    dtype: Weights,

    /// Numbers of clients to measure with, who ask again as soon as they are answered
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,4,16,32", value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: Vec<u16>,

    /// Tokens of a message with what went before it
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    prompt_tokens: u32,

    /// Tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    reply_tokens: u32,

    /// Messages that a user sends on a day
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = positive)]
    messages_per_day: f64,

    /// How much more is asked in the busiest hour than on average
    #[arg(long, value_name = "FACTOR", default_value_t = 3.0, value_parser = positive)]
    peak_factor: f64,

    /// Longest time to the first token that 95 of 100 may have
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = positive)]
    first_token_seconds: f64,

    /// What a machine like this one costs in an hour, in any currency
    #[arg(long, value_name = "PRICE", default_value_t = 0.1, value_parser = positive)]
    price_per_hour: f64,

    /// Also write the capacity page, one HTML file, here
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    #[command(flatten)]
    machine: MachineArgs,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| format!("give a number above 0, and not {text}"))
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.machine.apply()?;
    let exchange = Exchange {
        prompt_tokens: args.prompt_tokens as usize,
        reply_tokens: args.reply_tokens as usize,
    };
    let most = args.clients.iter().copied().max().unwrap_or(1);
    let engine = EngineSettings {
        slots: most.into(),
        queue_time: Duration::from_secs(3600),
        ..EngineSettings::default()
    };
    let given: Vec<PathBuf> = args.checkpoint.iter().cloned().collect();
    let paths = serve::paths(&given)?;
    let (sources, memory) = serve::models(&paths, args.dtype, &[], &engine, output)?;
    let app = App::start(
        sources,
        Settings {
            access: Access::LoopbackOnly,
            limits: Limits::default(),
            front: Front::default(),
            engine,
        },
    )?;
    let served = &app.models()[0];
    let points = measured(args, served, exchange, output)?;
    let assumptions = Assumptions {
        messages_per_day: args.messages_per_day,
        peak_factor: args.peak_factor,
        first_token_s: args.first_token_seconds,
        price_per_hour: args.price_per_hour,
    };
    let Some(replica) = assumptions.replica(&points, exchange) else {
        bail!(
            "no measurement had its first tokens within {} seconds: give fewer --clients, a smaller --dtype, or more --first-token-seconds",
            args.first_token_seconds
        );
    };
    let fleets = USERS.map(|users| assumptions.fleet(&replica, users, exchange, memory));
    let launch = assumptions.launch(&replica, exchange, memory);
    tell(args, &replica, &fleets, &launch, output);
    if let Some(path) = &args.report {
        let matter = page::Matter {
            model: served.name(),
            dtype: args.dtype.name(),
            exchange,
            assumptions,
            points: &points,
            replica: &replica,
            fleets: &fleets,
            launch: &launch,
        };
        page::write(&matter, path)?;
        output.say(format_args!("\nThe page: {}", path.display()));
    }
    output.result(&json!({
        "model": served.name(),
        "dtype": args.dtype.name(),
        "exchange": exchange,
        "assumptions": assumptions,
        "memory_bytes": memory,
        "measured": points,
        "replica": replica,
        "fleets": fleets,
        "launch": launch,
    }))
}

fn measured(
    args: &Args,
    served: &ServedModel,
    exchange: Exchange,
    output: &Output,
) -> Result<Vec<Point>> {
    let ready = loop {
        match served.state() {
            ModelState::Ready(ready) => break ready,
            ModelState::Failed(sentence) => bail!("cannot measure {}: {sentence}", served.name()),
            ModelState::Loading => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let (needed, context) = (
        exchange.prompt_tokens + exchange.reply_tokens,
        ready.facts.context,
    );
    if needed > context {
        bail!(
            "a message and its answer have {needed} tokens, and this model reads {context} at most: give fewer --prompt-tokens or --reply-tokens"
        );
    }
    // What is done for the first time takes longer.
    measure(&ready, 1, 1, exchange)?;
    output.say(format_args!(
        "\nMeasured, {} tokens read and {} written for each message:\n  clients  messages/s  read tokens/s  written tokens/s  first token (95 %)  per token",
        exchange.prompt_tokens, exchange.reply_tokens
    ));
    let mut points = Vec::new();
    for &clients in &args.clients {
        let point = measure(&ready, clients.into(), ROUNDS, exchange)?;
        output.say(format_args!(
            "  {:7}  {:10.2}  {:13.0}  {:16.0}  {:16.0}ms  {:7.1}ms",
            point.clients,
            point.exchanges_per_s,
            point.prompt_tokens_per_s,
            point.reply_tokens_per_s,
            point.first_token_p95_s * 1e3,
            point.between_tokens_s * 1e3,
        ));
        points.push(point);
    }
    Ok(points)
}

fn tell(args: &Args, replica: &Replica, fleets: &[Fleet], launch: &[Fleet], output: &Output) {
    output.say(format_args!(
        "\nTaken to be so: {} messages per user and day, {} times as many in the busiest hour, the first token within {} s, {} per hour and machine.",
        args.messages_per_day, args.peak_factor, args.first_token_seconds, args.price_per_hour
    ));
    output.say(format_args!(
        "One machine like this one, with up to {} requests at once: {} users a day, {} tokens a day.\n",
        replica.point.clients,
        Count(replica.users_per_day.floor()),
        Count(replica.tokens_per_day),
    ));
    let line = |name: &str, fleet: &Fleet| {
        output.say(format_args!(
            "  {name:>12}  {:>14}  {:>9}  {:>10}  {:>12.2}",
            Count(fleet.tokens_per_day).to_string(),
            fleet.replicas,
            Bytes(fleet.memory_bytes as u64).to_string(),
            fleet.price_per_day,
        ));
    };
    output.say("   users a day    tokens a day   machines      memory   price a day");
    for fleet in fleets {
        line(&Count(fleet.users).to_string(), fleet);
    }
    output.say(format_args!(
        "\nChatGPT's first {LAUNCH_DAYS} days, at the end of which a million had come (Sam Altman, 5 December 2022), if all came every day:"
    ));
    for (day, fleet) in launch.iter().enumerate() {
        line(&format!("day {}: {}", day + 1, Count(fleet.users)), fleet);
    }
    let price: f64 = launch.iter().map(|day| day.price_per_day).sum();
    output.say(format_args!("  All of it: {price:.2}."));
}
