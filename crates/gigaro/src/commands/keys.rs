//! `gigaro keys`: who may use a server, to do what, and how much.
//!
//! The file and its rules are gigaro-serve's ([`gigaro_serve::keys`]). A key is shown once, when it is made; what is kept is its hash.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gigaro_serve::keys::{
    Change, Entry, KeyFile, KeyLimits, Scope, Used, default_usage, moment, used_today,
};
use serde_json::{Value, json};

use crate::failure::Usage;
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro keys create ann                           a key for the API and the chat page, shown once
  gigaro keys create prometheus --scopes metrics
  gigaro keys create app --requests-per-minute 60 --tokens-per-day 200000 --concurrent-requests 8 --expires 2030-01-01
  gigaro keys rotate ann --keep-hours 24           a new key; the old one counts for another day
  gigaro keys revoke ann
  gigaro serve --host 0.0.0.0 --api-key-file keys.toml";

/// Make, list, rotate and revoke the keys of a server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a key and show it, once
    #[command(after_help = EXAMPLE)]
    Create(CreateArgs),
    /// List the keys, what they may and what they have used today
    #[command(after_help = EXAMPLE)]
    List(ListArgs),
    /// Make a key none any more
    #[command(after_help = EXAMPLE)]
    Revoke(RevokeArgs),
    /// Give a key a new secret, and let the old one count for a while
    #[command(after_help = EXAMPLE)]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The file of keys, the same that gigaro serve is given as --api-key-file
    #[arg(long, value_name = "FILE", default_value = "keys.toml")]
    file: PathBuf,

    /// Print one object with the result on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What the key is called in counters, logs and as an owner of conversations
    name: String,

    #[command(flatten)]
    file: FileArgs,

    /// What it opens: inference (the API), conversations (the chat page), metrics, admin
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_value = "inference,conversations", value_parser = scope)]
    scopes: Vec<Scope>,

    /// Requests that it may make in a minute
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<NonZeroU64>,

    /// Tokens, read and written, that it may use in a minute
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<NonZeroU64>,

    /// Requests that it may make in a day of UTC
    #[arg(long, value_name = "N")]
    requests_per_day: Option<NonZeroU64>,

    /// Tokens, read and written, that it may use in a day of UTC
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<NonZeroU64>,

    /// Requests of it that may be under way at the same time
    #[arg(long, value_name = "N")]
    concurrent_requests: Option<NonZeroU64>,

    /// When it ends: a date such as 2030-01-01 (its first moment in UTC), or a moment such as 2030-01-01T12:00:00Z
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    file: FileArgs,

    /// Where the server keeps what keys have used: a file, or postgres://USER@HOST/NAME [default: beside the keys]
    #[arg(long, value_name = "PLACE")]
    key_usage: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// The name of the key
    name: String,

    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// The name of the key
    name: String,

    #[command(flatten)]
    file: FileArgs,

    /// How many hours the present secret counts beside the new one
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=87600))]
    keep_hours: u32,
}

fn scope(name: &str) -> std::result::Result<Scope, String> {
    Scope::from_name(name).ok_or_else(|| {
        let known = Scope::ALL.map(Scope::name).join(", ");
        format!("there is no such scope; there are {known}")
    })
}

impl Args {
    /// Whether stdout is kept for one object.
    pub(crate) fn wants_json(&self) -> bool {
        match &self.action {
            Action::Create(args) => args.file.json,
            Action::List(args) => args.file.json,
            Action::Revoke(args) => args.file.json,
            Action::Rotate(args) => args.file.json,
        }
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    match &args.action {
        Action::Create(args) => create(args, output),
        Action::List(args) => list(args, output),
        Action::Revoke(args) => {
            let file = &args.file.file;
            existing(file)?;
            KeyFile::change(file, Change::Revoke(args.name.clone()))?;
            output.say(format_args!(
                "{} opens nothing any more; servers that are running notice within two seconds.",
                args.name
            ));
            output.result(&json!({ "revoked": args.name, "file": file }))
        }
        Action::Rotate(args) => rotate(args, output),
    }
}

fn create(args: &CreateArgs, output: &Output) -> Result<()> {
    let mut entry = Entry::new(&args.name, args.scopes.clone());
    entry.limits = KeyLimits {
        requests_per_minute: args.requests_per_minute,
        tokens_per_minute: args.tokens_per_minute,
        requests_per_day: args.requests_per_day,
        tokens_per_day: args.tokens_per_day,
        concurrent_requests: args.concurrent_requests,
    };
    if let Some(text) = &args.expires {
        let end = moment::read(text).map_err(|sentence| Usage(format!("--expires: {sentence}")))?;
        if moment::is_past(end) {
            return Err(Usage(format!("--expires: {text} has passed already")).into());
        }
        entry.expires = Some(end);
    }
    let secret = KeyFile::change(&args.file.file, Change::Create(entry))?;
    show(&args.name, secret, &args.file.file, output)
}

fn rotate(args: &RotateArgs, output: &Output) -> Result<()> {
    existing(&args.file.file)?;
    let until = moment::in_hours(args.keep_hours);
    let change = Change::Rotate {
        name: args.name.clone(),
        until,
    };
    let secret = KeyFile::change(&args.file.file, change)?;
    output.say(format_args!(
        "The key that {} had counts until {until:.0}.",
        args.name
    ));
    show(&args.name, secret, &args.file.file, output)
}

fn show(name: &str, secret: Option<String>, file: &Path, output: &Output) -> Result<()> {
    let Some(secret) = secret else {
        bail!("{} was changed, but no key came of it", file.display());
    };
    output.say(format_args!(
        "The key of {name}, shown only now (its hash is in {}):\n\n{secret}\n",
        file.display()
    ));
    output.result(&json!({ "name": name, "key": secret, "file": file }))
}

/// A command that changes a key should not make a file.
fn existing(file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    bail!(
        "there is no file of keys {}: name it with --file, or make a key with gigaro keys create",
        file.display()
    )
}

fn list(args: &ListArgs, output: &Output) -> Result<()> {
    let file = &args.file.file;
    existing(file)?;
    let keys = KeyFile::load(file)?.keys;
    let place = args
        .key_usage
        .clone()
        .unwrap_or_else(|| default_usage(file));
    // No server may have kept anything yet.
    let is_there = args.key_usage.is_some() || place.exists();
    let used = if is_there {
        used_today(&place)?
    } else {
        Vec::new()
    };
    let used = |name: &str| {
        let found = used.iter().find(|(other, _)| other == name);
        found.map(|(_, used)| *used).unwrap_or_default()
    };
    let lines: Vec<(&str, String)> = keys
        .iter()
        .map(|key| (key.name.as_str(), line(key, used(&key.name))))
        .collect();
    output.fields(&format!("Keys in {}", file.display()), &lines);
    let objects: Vec<Value> = keys
        .iter()
        .map(|key| {
            json!({
                "name": key.name,
                "scopes": key.scopes,
                "created": key.created.map(|at| at.to_string()),
                "expires": key.expires.map(|at| at.to_string()),
                "limits": key.limits,
                "used_today": used(&key.name),
            })
        })
        .collect();
    output.result(&json!({ "keys": objects }))
}

fn line(key: &Entry, used: Used) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.name()).collect();
    let mut parts = vec![scopes.join(" ")];
    let KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        requests_per_day,
        tokens_per_day,
        concurrent_requests,
    } = key.limits;
    for (limit, of) in [
        (requests_per_minute, "requests/min"),
        (tokens_per_minute, "tokens/min"),
        (requests_per_day, "requests/day"),
        (tokens_per_day, "tokens/day"),
        (concurrent_requests, "at once"),
    ] {
        parts.extend(limit.map(|limit| format!("{limit} {of}")));
    }
    parts.extend(key.expires.map(|end| {
        let verb = if moment::is_past(end) {
            "ended"
        } else {
            "ends"
        };
        format!("{verb} {end:.0}")
    }));
    if !key.former.is_empty() {
        parts.push("an old secret still counts".to_owned());
    }
    parts.push(format!(
        "today {} requests, {} tokens",
        used.requests, used.tokens
    ));
    parts.join(", ")
}
