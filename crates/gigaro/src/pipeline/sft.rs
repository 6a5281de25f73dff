//! Supervised fine-tuning: a model that goes on with text learns to answer, with the loss on the answers only.

use std::path::Path;

use anyhow::Result;
use gigaro_data::chat::{Message, Rendered, Role};
use gigaro_data::conversations;
use gigaro_data::loader::{Batch, ConversationLoader};
use gigaro_data::tokenizer::END_OF_TEXT;
use gigaro_data::world::{self, World};
use gigaro_nn::Module;
use gigaro_nn::schedule::{Decay, Schedule};
use gigaro_train::quantity::Count;

use super::lora::Adapters;
use super::rates::Rates;
use super::stage::{self, Pace, Work};
use super::{Job, StageResult};
use crate::output::Output;
use crate::recipe::Sft;
use crate::trained::Trained;
use crate::turns::Turns;

/// One conversation of so many is kept to measure the loss on.
const HELD_OUT_EVERY: usize = 50;

/// Fine-tunes the model in the checkpoint `from` into the stage's folder `dir`.
///
/// # Errors
/// If there is nothing to learn from, the checkpoint is of no use, memory or disk do not suffice, or the user stops it.
pub(crate) fn sft(
    job: &Job,
    recipe: &Sft,
    from: &Path,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let mut start = Trained::open(from)?;
    start.model.checkpoint_activations = job.recipe.run.checkpoint_activations;
    let config = start.model.config.clone();
    let pace = pace(recipe);
    let plan = stage::plan(job, &config, &pace, dir, output)?;
    let adapters = recipe
        .lora()
        .map(|lora| Adapters::add(job, &lora, &mut start, dir))
        .transpose()?;
    let (learn, measure) = examples(job, recipe, &start, output)?;
    let padding = padding(&start);
    let (rows, context, seed) = (
        plan.micro_batch as usize,
        config.max_seq_len,
        job.recipe.run.seed,
    );
    let mut feed = ConversationLoader::new(learn, rows, context, padding, seed)?;
    let measured = ConversationLoader::new(measure, rows, context, padding, seed);
    // So few conversations that none is left to measure on is no reason not to learn from them.
    let validation: Vec<Batch> = measured
        .map(|loader| loader.all_batches().collect())
        .unwrap_or_default();
    let mut optimizer = rates(recipe).optimizer(&start.model, None);
    let part = start.model.lora_parameters();
    let work = Work {
        model: &start.model,
        part: adapters
            .as_ref()
            .map(|a| (&part as &dyn Module, a.base.clone())),
        optimizer: optimizer.as_mut(),
        feed: &mut feed,
        validation: &validation,
        tokenizer: &start.tokenizer,
        prompts: &[],
        beside: &start.beside,
    };
    let Some(adapters) = adapters else {
        return stage::train(job, dir, &pace, &plan, work, output);
    };
    let mut result = stage::train(job, &adapters.dir, &pace, &plan, work, output)?;
    result.checkpoint = adapters.publish(start, dir, pace.steps as u64, output)?;
    Ok(result)
}

fn rates(recipe: &Sft) -> Rates {
    Rates {
        optimizer: recipe.optimizer,
        learning_rate: recipe.learning_rate,
        muon_learning_rate: recipe.muon_learning_rate,
        embedding_learning_rate: recipe.embedding_learning_rate,
        weight_decay: recipe.weight_decay,
        betas: (0.9, 0.95),
    }
}

/// The sizes and the pace of the stage.
pub(super) fn pace(recipe: &Sft) -> Pace {
    let decay = Decay::Linear {
        total_steps: recipe.steps as u64,
        min_lr: 0.0,
    };
    Pace {
        name: "fine-tuning",
        steps: recipe.steps,
        batch_size: recipe.batch_size,
        // Of adapters there is so little that their moments do not count.
        optimizer_numbers: if recipe.lora_r.is_some() { 0 } else { 2 },
        schedule: Schedule {
            lr: recipe.learning_rate,
            warmup_steps: recipe.warmup_steps as u64,
            decay,
        },
        grad_clip: 1.0,
        eval_every: 0,
        save_every: recipe.save_every,
    }
}

/// The token that rows are filled up with. Nothing looks at it, so a tokenizer without the usual one may pad with any other.
pub(super) fn padding(trained: &Trained) -> u32 {
    trained.tokenizer.special(END_OF_TEXT).unwrap_or(0)
}

/// Conversations in tokens: those to learn from, and those to measure on.
pub(super) fn examples(
    job: &Job,
    recipe: &Sft,
    start: &Trained,
    output: &Output,
) -> Result<(Vec<Rendered>, Vec<Rendered>)> {
    let turns = Turns::of(start)?;
    if turns.is_template() {
        output.say("Format: the chat template of the tokenizer");
    }
    let all: Vec<Rendered> = match &recipe.chats {
        Some(path) => conversations::read(path)?
            .iter()
            .map(|c| turns.render(&c.messages))
            .collect::<Result<_, _>>()?,
        None => {
            let (world, seed) = (World::new(job.recipe.data.world_seed), job.recipe.run.seed);
            let told = world.conversations(seed).take(recipe.world_dialogues);
            told.map(|c| turns.render(&messages(&c)))
                .collect::<Result<_, _>>()?
        }
    };
    let from = recipe
        .chats
        .as_ref()
        .map_or("the small world".to_owned(), |path| {
            path.display().to_string()
        });
    output.say(format_args!(
        "Conversations: {} from {from}",
        Count(all.len() as f64)
    ));
    let mut parts = (Vec::new(), Vec::new());
    for (i, example) in all.into_iter().enumerate() {
        let part = if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 {
            &mut parts.1
        } else {
            &mut parts.0
        };
        part.push(example);
    }
    Ok(parts)
}

/// A conversation of the small world as everyone else writes them.
fn messages(conversation: &world::Conversation) -> Vec<Message> {
    let message = |m: &world::Message| {
        let role = match m.role {
            world::Role::User => Role::User,
            world::Role::Assistant => Role::Assistant,
        };
        Message::new(role, &m.content)
    };
    conversation.messages.iter().map(message).collect()
}
