//! A trained model as commands use it: weights, tokenizer, and what they say together.
//!
//! Models of other projects come in through `imported.rs`.
//!
//! Not training and not the format of a checkpoint (`gigaro-train`); not the loop that draws tokens (`gigaro-models`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gigaro_data::{Tokenizer, template};
use gigaro_models::generate::{
    BatchRequest, Completion, Reply, SampleError, SamplingParams, generate_batch, reply,
};
use gigaro_models::gpt::{KvCache, WeightFormat};
use gigaro_models::{ActorCritic, Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_serve::engine::Words;
use gigaro_tensor::{DType, Device, autocast, no_grad};
use gigaro_train::checkpoint::{CHECKPOINTS, CONFIG, Checkpoint, LATEST};
use gigaro_train::weights;

use crate::device;
use crate::flags::Precision;
use crate::imported::Imported;
use crate::pipeline::job::{BEST, PPO, PRETRAIN, SFT, last_run};

/// Texts that are completed at the same time.
const SLOTS: usize = 32;

/// Weights and the tokenizer that belongs to them.
pub(crate) struct Trained {
    pub(crate) model: Gpt,
    pub(crate) tokenizer: Tokenizer,
    /// The files that say in which format it is given conversations, where it has one of its own; name and bytes.
    pub(crate) beside: Vec<(String, Vec<u8>)>,
    /// The checkpoint's own folder, or the file that holds it all.
    pub(crate) dir: PathBuf,
}

impl Trained {
    /// The newest checkpoint at or under `path`, or the model of another project that is there.
    ///
    /// # Errors
    /// If it is missing, damaged, or of another kind, in a sentence.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_in(path, None)
    }

    /// As [`Trained::open`], the weights held in `format`: as they are stored, if none is named.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn open_in(path: &Path, format: Option<WeightFormat>) -> Result<Self> {
        if let Some(format) = format {
            device::check_format(format)?;
        }
        // What is stored in few bits is computed in few bits on the processor only.
        let as_stored = format.is_none() && device::chosen() == Device::Cpu;
        let mut trained = match Imported::at(path)? {
            Some(imported) => imported.open(as_stored)?,
            None => Self::open_own(path)?,
        };
        if let Some(format) = format {
            trained.model.store_weights(format);
        }
        device::place(&trained.model);
        Ok(trained)
    }

    /// The newest checkpoint at or under `path`.
    fn open_own(path: &Path) -> Result<Self> {
        let (checkpoint, config) = own_checkpoint(path)?;
        let dir = checkpoint.dir().to_owned();
        let shown = dir.display();
        let Some(json) = checkpoint.tokenizer()? else {
            bail!("the checkpoint {shown} has no tokenizer, so it cannot read or write text");
        };
        let tokenizer = Tokenizer::from_json(&json, &format!("the tokenizer of {shown}"))?;
        let model = Gpt::zeroed(&config);
        let mut tensors = weights::collect(&dir, |take| checkpoint.weights(take))?;
        // Reinforcement learning leaves its head for values beside the policy.
        tensors.retain(|name, _| !name.starts_with(ActorCritic::VALUE_PREFIX));
        // As the trainer writes them: GPT-2's matrices are not turned as in the ecosystem's files.
        model
            .load_state_dict(&tensors)
            .with_context(|| format!("the weights in {shown} are not those of its config.json"))?;
        Ok(Self {
            model,
            tokenizer,
            beside: beside(&checkpoint)?,
            dir,
        })
    }

    /// Text that continues `prompt`; see [`reply`].
    ///
    /// # Errors
    /// If the weights give no usable logits.
    pub(crate) fn continue_text(
        &self,
        state: &mut Reading,
        prompt: &[u32],
        params: &SamplingParams,
        dtype: Precision,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply> {
        let Reading { cache, history } = state;
        let run = || {
            reply(
                &self.model,
                cache,
                history,
                prompt,
                params,
                &Words(self.tokenizer.clone()),
                on_text,
            )
        };
        self.compute(dtype, run)
    }

    /// Text that continues each of many prompts, many at once; see [`generate_batch`].
    ///
    /// # Errors
    /// If the weights give no usable logits.
    pub(crate) fn continue_all(
        &self,
        requests: &[BatchRequest],
        dtype: Precision,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Completion>>> {
        let words = Words(self.tokenizer.clone());
        let run = || generate_batch(&self.model, requests, SLOTS, &words, go_on);
        self.compute(dtype, run)
    }

    /// Generates in a precision, and names the checkpoint if it cannot.
    fn compute<T>(
        &self,
        dtype: Precision,
        run: impl FnOnce() -> Result<T, SampleError>,
    ) -> Result<T> {
        let dtype = match dtype {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        };
        autocast(dtype, run).with_context(|| format!("cannot go on with {}", self.dir.display()))
    }

    /// The longest text that the model can look at, in tokens.
    pub(crate) fn context(&self) -> usize {
        self.model.config.max_seq_len
    }
}

/// Where the model at or under `path` is and what it is built like, before its weights are read.
///
/// # Errors
/// If it is missing, damaged, or of another kind, in a sentence.
pub(crate) fn open_config(path: &Path) -> Result<(PathBuf, GptConfig)> {
    if let Some(imported) = Imported::at(path)? {
        let config = imported.config()?;
        return Ok((imported.path().to_owned(), config));
    }
    let (checkpoint, config) = own_checkpoint(path)?;
    Ok((checkpoint.dir().to_owned(), config))
}

/// The newest checkpoint of ours at or under `path`, and its configuration.
fn own_checkpoint(path: &Path) -> Result<(Checkpoint, GptConfig)> {
    let checkpoint = Checkpoint::open(newest_stage(path))?;
    let config = String::from_utf8_lossy(&checkpoint.file(CONFIG)?).into_owned();
    let shown = checkpoint.dir().display();
    let config = GptConfig::from_json(&config).with_context(|| format!("cannot use {shown}"))?;
    Ok((checkpoint, config))
}

/// What a model puts after each of these prompts, with the prompts as text.
///
/// # Errors
/// If the weights give no usable logits.
pub(crate) fn write(
    model: &Gpt,
    tokenizer: &Tokenizer,
    prompts: &[Vec<u32>],
    params: &SamplingParams,
) -> Result<Vec<(String, String)>, SampleError> {
    let request = |prompt: &Vec<u32>| BatchRequest {
        prompt: prompt.clone(),
        params: params.clone(),
    };
    let requests: Vec<BatchRequest> = prompts.iter().map(request).collect();
    let written = generate_batch(
        model,
        &requests,
        SLOTS,
        &Words(tokenizer.clone()),
        &mut |_| true,
    )?;
    let given = |prompt: &[u32]| -> String {
        let words: Vec<u32> = prompt
            .iter()
            .copied()
            .filter(|id| !tokenizer.is_special(*id))
            .collect();
        tokenizer.decode(&words)
    };
    let texts = written.into_iter().flatten();
    Ok(prompts
        .iter()
        .zip(texts)
        .map(|(prompt, completion)| (given(prompt), completion.text))
        .collect())
}

/// The files of a chat template in a checkpoint's folder. Those that were saved with it must be as they were; one that the user
/// has put there since is taken as it is.
pub(crate) fn beside(checkpoint: &Checkpoint) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = template::files(checkpoint.dir())?;
    for (name, bytes) in &mut files {
        if checkpoint.sha256(name).is_some() {
            *bytes = checkpoint.file(name)?;
        }
    }
    Ok(files)
}

/// A model with the same weights that can be trained without changing the first one.
pub(crate) fn deep_copy(model: &Gpt) -> Gpt {
    let copy = Gpt::zeroed(&model.config);
    copy.to_device(model.device());
    no_grad(|| {
        for ((_, to), (_, from)) in copy.named_parameters().iter().zip(model.named_parameters()) {
            to.copy_(&from);
        }
    });
    copy
}

/// What a model has read so far, so that the next turn need not read it again.
pub(crate) struct Reading {
    cache: KvCache,
    history: Vec<u32>,
}

impl Reading {
    /// Nothing read yet.
    pub(crate) fn new(model: &Gpt) -> Self {
        Self {
            cache: KvCache::new(model),
            history: Vec::new(),
        }
    }
}

/// The last stage of the run in `path` that has a checkpoint; `path` itself if it is not a run of several stages.
pub(crate) fn newest_stage(path: &Path) -> PathBuf {
    let stages = [PPO, SFT, PRETRAIN].map(|stage| path.join(stage));
    // Of reinforcement learning the best point, not the last one.
    let best = [path.join(PPO).join(BEST), path.join(BEST)];
    best.into_iter()
        .chain(stages)
        .find(|stage| stage.join(CHECKPOINTS).join(LATEST).is_file())
        .unwrap_or_else(|| path.to_owned())
}

/// The stage of fine-tuning of the run in `path`, if it has one: what alignment starts from; else as [`newest_stage`].
fn fine_tuned_stage(path: &Path) -> PathBuf {
    let stage = path.join(SFT);
    if stage.join(CHECKPOINTS).join(LATEST).is_file() {
        stage
    } else {
        newest_stage(path)
    }
}

/// Where alignment starts: at the fine-tuned model of the run given, or of the last finished one.
///
/// # Errors
/// If none is given and no run was finished here, or there is no whole checkpoint.
pub(crate) fn start_of_alignment(given: Option<&Path>) -> Result<PathBuf> {
    let path = fine_tuned_stage(&chosen_checkpoint(given)?);
    Checkpoint::open(&path)?;
    absolute(&path)
}

/// An absolute path of a file or folder of the user's, before a run is begun with it.
///
/// # Errors
/// If there is nothing there.
pub(crate) fn existing(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        bail!("there is no file or folder {}", path.display());
    }
    absolute(path)
}

/// A path that means the same from every folder, since a run may be resumed from another one.
///
/// # Errors
/// If the system does not tell where we are.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use the path {}", path.display()))
}

/// The checkpoint to use: the one given, or that of the last finished run.
///
/// # Errors
/// If none is given and no run was finished here.
pub(crate) fn chosen_checkpoint(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        // A file that is no model is a likely mistake, and said before anything else.
        Imported::at(path)?;
        return Ok(path.to_owned());
    }
    match last_run() {
        Some(path) => Ok(path),
        None => bail!(
            "no model was trained in this folder yet: run `gigaro speedrun` first, or name a checkpoint with --checkpoint DIR"
        ),
    }
}
