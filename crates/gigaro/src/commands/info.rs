//! `gigaro info`: what a recipe says.

use anyhow::Result;
use serde_json::json;

use crate::output::Output;
use crate::recipe::{self, BUILTIN, Recipe};

const EXAMPLE: &str = "\
Examples:
  gigaro info                            the built-in recipes
  gigaro info speedrun                   one of them
  gigaro info my.toml --json             a recipe of your own, as JSON";

/// Show a recipe: what it trains, what it must reach and what that costs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A recipe file or the name of a built-in one [default: list the built-in ones]
    what: Option<String>,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    match &args.what {
        Some(what) => show_recipe(&recipe::load(what)?, output),
        None => list_recipes(output),
    }
}

fn list_recipes(output: &Output) -> Result<()> {
    let recipes: Vec<Recipe> = BUILTIN
        .iter()
        .filter_map(|(name, _)| recipe::builtin(name))
        .collect();
    let lines: Vec<(&str, String)> = recipes
        .iter()
        .map(|r| (r.name.as_str(), r.about.clone()))
        .collect();
    output.fields("Built-in recipes (use with --recipe NAME):", &lines);
    output.result(&json!({ "recipes": recipes }))
}

fn show_recipe(recipe: &Recipe, output: &Output) -> Result<()> {
    output.say(format_args!("{}: {}\n", recipe.name, recipe.about));
    output.fields("Must reach", &recipe.must_reach.lines());
    output.fields("Cost", &recipe.cost.lines());
    output.say(format_args!("\n{}", toml::to_string(recipe)?));
    output.result(recipe)
}
