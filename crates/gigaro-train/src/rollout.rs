//! A rollout: prompts, what the policy of this moment answers to them, and what training needs to know about it.
//!
//! PPO, GRPO and RLOO all begin a step here: [`Rollouts::next`] draws prompts in a seeded order, has
//! the policy answer them in one batch, asks a [`Scorer`] and the frozen reference. The rest of the step
//! then works on [`Rollout`]: numbers per answer token lie flat, as
//! [`advantage`](crate::advantage) has them, and [`Rollout::parts`] makes the padded tensors that the model is
//! trained on.
//!
//! Rows are padded on the *right*. A token attends to earlier ones only, so no answer token ever sees
//! padding, positions count from the row's first token as they do everywhere else, and neither mask nor shifted positions
//! are needed; only the hidden states before answer tokens are read, and only those are projected onto
//! the vocabulary. (Left padding is for engines that want every row's last token in one column;
//! batched decoding here has a row of its own length for each request.)

use std::time::Instant;

use gigaro_models::Gpt;
use gigaro_models::generate::{
    BatchRequest, Completion, FinishReason, SamplingParams, Vocabulary, Watch,
    generate_batch_watched, token_logprobs,
};
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{Generator, Tensor, no_grad};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::advantage::{KlEstimator, mean, penalise_truncated, per_answer, variance};
use crate::error::{Error, Result};
use crate::objective::Figures;
use crate::policy_loss::Averaging;
use crate::scorer::{Scorer, checked_scores};
use crate::validation::Validation;

/// How a step's answers are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Prompts of a step.
    pub prompts: usize,
    /// Answers to each of them.
    pub answers: usize,
    /// Most tokens of an answer, the one that ends it included.
    pub max_tokens: usize,
    /// Divides the logits, here and in every loss.
    pub temperature: f64,
    /// Answers that are written at the same time.
    pub slots: usize,
    /// The score of an answer that was cut off before it ended, in place of its own.
    pub missing_eos_penalty: Option<f64>,
    /// Answers that go through the model at once in training.
    pub micro_batch: usize,
    /// Decides the order of prompts and every answer.
    pub seed: u64,
}

impl Default for Sampling {
    /// 64 prompts with one answer of up to 64 tokens each, at temperature 1.
    fn default() -> Self {
        Self {
            prompts: 64,
            answers: 1,
            max_tokens: 64,
            temperature: 1.0,
            slots: 64,
            missing_eos_penalty: None,
            micro_batch: 16,
            seed: 0,
        }
    }
}

impl Sampling {
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [
            ("prompts", self.prompts),
            ("answers", self.answers),
            ("max_tokens", self.max_tokens),
            ("slots", self.slots),
            ("micro_batch", self.micro_batch),
        ];
        for (name, n) in counts {
            if n == 0 {
                return Err(Error::bad_setting(name, n, "it must be at least 1"));
            }
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            let why = "answers must be drawn at random to learn from; it must be above 0";
            return Err(Error::bad_setting("temperature", self.temperature, why));
        }
        Ok(())
    }

    /// # Errors
    /// If there are no others to compare an answer with.
    pub(crate) fn check_groups(&self) -> Result<()> {
        if self.answers < 2 {
            let why = "answers are judged against others to the same prompt; it must be at least 2";
            return Err(Error::bad_setting("answers", self.answers, why));
        }
        Ok(())
    }

    /// Has `model` answer each prompt; answer `i` has the seed `stream.fork(i)`. `watch` sees what each token is drawn from.
    ///
    /// # Errors
    /// If the model's logits are not finite.
    pub(crate) fn answer(
        &self,
        model: &Gpt,
        prompts: &[Vec<u32>],
        stream: &Generator,
        vocabulary: &dyn Vocabulary,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Completion>> {
        let request = |(i, prompt): (usize, &Vec<u32>)| BatchRequest {
            prompt: prompt.clone(),
            params: SamplingParams {
                max_tokens: self.max_tokens,
                temperature: self.temperature as f32,
                seed: stream.fork(i as u64).next_u64(),
                ..SamplingParams::default()
            },
        };
        let requests: Vec<BatchRequest> = prompts.iter().enumerate().map(request).collect();
        let slots = self.slots;
        let done =
            generate_batch_watched(model, &requests, slots, vocabulary, watch, &mut |_| true)?;
        Ok(done.expect("nobody asked to stop"))
    }
}

/// Prompts in a seeded order, a new one each time all have been given.
#[derive(Clone, Debug)]
pub struct Prompts {
    all: Vec<Vec<u32>>,
    seed: u64,
    given: u64,
}

impl Prompts {
    /// These prompts, as token ids.
    ///
    /// # Errors
    /// If there are none, or one is empty or leaves no room for an answer in a context of `max_seq_len`.
    pub fn new(all: Vec<Vec<u32>>, max_seq_len: usize, seed: u64) -> Result<Self> {
        if all.is_empty() {
            return Err(Error::NotEnoughData {
                what: "there are no prompts".into(),
                advice: "give at least one".into(),
            });
        }
        let unusable = |p: &Vec<u32>| p.is_empty() || p.len() >= max_seq_len;
        if let Some(i) = all.iter().position(unusable) {
            return Err(Error::NotEnoughData {
                what: format!(
                    "prompt {} has {} tokens, which leaves no room for an answer in a context of {max_seq_len} or is nothing to answer",
                    i + 1,
                    all[i].len()
                ),
                advice: "leave out empty prompts and shorten long ones".into(),
            });
        }
        Ok(Self {
            all,
            seed,
            given: 0,
        })
    }

    fn next(&mut self, n: usize) -> Vec<Vec<u32>> {
        let len = self.all.len() as u64;
        let mut taken = Vec::with_capacity(n);
        while taken.len() < n {
            let (epoch, from) = (self.given / len, (self.given % len) as usize);
            let order = permutation(self.all.len(), &Generator::new(self.seed).fork(epoch));
            let part = &order[from..order.len().min(from + n - taken.len())];
            taken.extend(part.iter().map(|&i| self.all[i].clone()));
            self.given += part.len() as u64;
        }
        taken
    }
}

/// The numbers below `n` in a random order.
pub(crate) fn permutation(n: usize, generator: &Generator) -> Vec<usize> {
    let order = Tensor::randperm(n, generator).to_vec::<i64>();
    order.into_iter().map(|i| i as usize).collect()
}

/// Where a run's rollouts come from.
pub struct Rollouts<'a> {
    reference: &'a Gpt,
    prompts: Prompts,
    scorer: &'a mut dyn Scorer,
    vocabulary: &'a dyn Vocabulary,
    sampling: Sampling,
    validation: Option<Validation<'a>>,
    done: u64,
    tokens: u64,
    spent: Spent,
}

/// Where the time of the last rollout went.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    /// Seconds in which the policy answered.
    answering: f64,
    /// Seconds in which the answers were scored and read by the reference.
    scoring: f64,
    /// Tokens of the answers.
    answered: usize,
}

#[derive(Serialize, Deserialize)]
struct Position {
    rollouts: u64,
    prompts_given: u64,
    prompts: usize,
    seed: u64,
    validation: Value,
}

impl<'a> Rollouts<'a> {
    /// Answers to `prompts`, judged by `scorer`; `reference` is the policy as it was in the beginning and never changes,
    /// so it must have weights of its own: clones of a model share theirs.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn new(
        reference: &'a Gpt,
        prompts: Prompts,
        scorer: &'a mut dyn Scorer,
        vocabulary: &'a dyn Vocabulary,
        sampling: Sampling,
    ) -> Result<Self> {
        sampling.check()?;
        Ok(Self {
            reference,
            prompts,
            scorer,
            vocabulary,
            sampling,
            validation: None,
            done: 0,
            tokens: 0,
            spent: Spent::default(),
        })
    }

    /// Measures the policy on held-out prompts now and then.
    #[must_use]
    pub fn with_validation(mut self, validation: Validation<'a>) -> Self {
        self.validation = Some(validation);
        self
    }

    /// How answers are drawn.
    #[must_use]
    pub const fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Tokens of prompts and answers of the last rollout.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// A stream of random numbers for the order of minibatches of the last rollout.
    pub(crate) fn order_stream(&self) -> Generator {
        Generator::new(self.sampling.seed).fork(self.done).fork(1)
    }

    /// The next prompts, answered by `policy` and judged. Answers to the same prompt are neighbours.
    ///
    /// # Errors
    /// If the policy's logits are not finite, the scorer fails, or a score is not finite.
    pub fn next(&mut self, policy: &Gpt) -> Result<Rollout> {
        self.next_watched(policy, &mut |_, _| {})
    }

    /// As [`Rollouts::next`]; `watch` sees what each token of each answer is drawn from.
    pub(crate) fn next_watched(&mut self, policy: &Gpt, watch: &mut Watch<'_>) -> Result<Rollout> {
        let s = &self.sampling;
        let drawn = self.prompts.next(s.prompts);
        let repeat = |p: &Vec<u32>| std::iter::repeat_n(p.clone(), s.answers).collect::<Vec<_>>();
        let prompts: Vec<Vec<u32>> = drawn.iter().flat_map(repeat).collect();
        let stream = Generator::new(s.seed).fork(self.done).fork(0);
        let started = Instant::now();
        let completions = s.answer(policy, &prompts, &stream, self.vocabulary, watch)?;
        let answered = Instant::now();
        let raw_scores = checked_scores(self.scorer, &prompts, &completions)?;
        let ended: Vec<bool> = completions
            .iter()
            .map(|c| c.finish_reason != FinishReason::Length)
            .collect();
        let mut rollout = Rollout {
            scores: penalise_truncated(&raw_scores, &ended, s.missing_eos_penalty),
            lens: completions.iter().map(|c| c.tokens.len()).collect(),
            logprobs: completions
                .iter()
                .flat_map(|c| c.logprobs.iter().map(|&x| f64::from(x)))
                .collect(),
            ref_logprobs: Vec::new(),
            prompts,
            completions,
            raw_scores,
            ended,
        };
        rollout.ref_logprobs = rollout.over_tokens(s.micro_batch, |part| {
            let logits = answer_logits(self.reference, part);
            token_logprobs(&logits, &part.tokens, s.temperature)
        });
        if let Some(validation) = &mut self.validation {
            validation.note(mean(&rollout.raw_scores));
        }
        self.done += 1;
        self.tokens = rollout.tokens();
        self.spent = Spent {
            answering: (answered - started).as_secs_f64(),
            scoring: answered.elapsed().as_secs_f64(),
            answered: rollout.lens.iter().sum(),
        };
        Ok(rollout)
    }

    /// Seconds of the last rollout, and how fast it was written, in tokens of answers per second.
    pub(crate) fn times(&self) -> Figures {
        let Spent {
            answering,
            scoring,
            answered,
        } = self.spent;
        vec![
            ("time/rollout", answering),
            ("time/scoring", scoring),
            ("rollout/tokens_per_s", answered as f64 / answering),
        ]
    }

    /// What [`Objective::validate`](crate::objective::Objective::validate) asks for; `module` is what a checkpoint holds.
    pub(crate) fn validate(
        &mut self,
        policy: &Gpt,
        module: &dyn Module,
    ) -> Result<Option<Figures>> {
        let Some(validation) = &mut self.validation else {
            return Ok(None);
        };
        let stream = Generator::new(self.sampling.seed).fork(u64::MAX);
        let answer = |prompts: &[Vec<u32>]| {
            self.sampling
                .answer(policy, prompts, &stream, self.vocabulary, &mut |_, _| {})
        };
        validation.measure(self.done, answer, module)
    }

    /// What a resumed run needs to go on with the same rollouts.
    pub(crate) fn state(&self) -> Value {
        json!(Position {
            rollouts: self.done,
            prompts_given: self.prompts.given,
            prompts: self.prompts.all.len(),
            seed: self.sampling.seed,
            validation: json!(self.validation.as_ref().map(Validation::state)),
        })
    }

    pub(crate) fn restore(&mut self, state: &Value) -> Result<()> {
        let at: Position = serde_json::from_value(state.clone()).map_err(Error::position)?;
        let (prompts, seed) = (self.prompts.all.len(), self.sampling.seed);
        if (at.prompts, at.seed) != (prompts, seed) {
            return Err(Error::position(format!(
                "it had {} prompts and seed {}, and this run has {prompts} and {seed}",
                at.prompts, at.seed
            )));
        }
        (self.done, self.prompts.given) = (at.rollouts, at.prompts_given);
        match &mut self.validation {
            Some(validation) => validation.restore(&at.validation),
            None => Ok(()),
        }
    }
}

/// The logits that each answer token is drawn from, `(N, V)`; nothing else is projected onto the vocabulary.
pub(crate) fn answer_logits(model: &Gpt, part: &Part) -> Tensor {
    let hidden = model.hidden(&part.ids, None, &Mode::Eval);
    model.logits(&part.at_answers(&hidden))
}

/// Answers and what is known about them.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// What was asked, once per answer.
    pub prompts: Vec<Vec<u32>>,
    /// What was answered.
    pub completions: Vec<Completion>,
    /// Tokens of each answer.
    pub lens: Vec<usize>,
    /// Of each answer token, under the policy that drew it; flat.
    pub logprobs: Vec<f64>,
    /// Of each answer token, under the reference; flat.
    pub ref_logprobs: Vec<f64>,
    /// What the scorer said.
    pub raw_scores: Vec<f64>,
    /// What counts: with the penalty for answers that were cut off.
    pub scores: Vec<f64>,
    /// Whether the answer came to its end.
    pub ended: Vec<bool>,
}

impl Rollout {
    /// The divergence from the reference at each answer token, flat.
    #[must_use]
    pub fn kl(&self, estimator: KlEstimator) -> Vec<f64> {
        let pairs = self.logprobs.iter().zip(&self.ref_logprobs);
        pairs.map(|(p, q)| estimator.estimate(*p, *q)).collect()
    }

    /// Tokens of prompts and answers.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let prompts: usize = self.prompts.iter().map(Vec::len).sum();
        (prompts + self.lens.iter().sum::<usize>()) as u64
    }

    /// What is logged of every rollout; `kl` is the divergence that is trained against.
    #[must_use]
    pub fn figures(&self, kl: &[f64]) -> Figures {
        let per_answer: Vec<f64> = per_answer(kl, &self.lens).map(|x| x.iter().sum()).collect();
        let entropy = -mean(&self.logprobs);
        let cut = self.ended.iter().filter(|e| !**e).count() as f64;
        vec![
            ("objective/scores", mean(&self.raw_scores)),
            ("objective/scores_std", variance(&self.raw_scores, 0).sqrt()),
            ("objective/kl", mean(&per_answer)),
            ("objective/entropy", entropy),
            ("val/truncated", cut / self.ended.len() as f64),
            (
                "val/answer_tokens",
                self.logprobs.len() as f64 / self.lens.len() as f64,
            ),
        ]
    }

    /// `answers` (by number) in padded tensors, at most `micro_batch` of them in each, with a weight for each
    /// token. Losses of the parts add up to that of the whole.
    #[must_use]
    pub fn parts(&self, answers: &[usize], micro_batch: usize, averaging: Averaging) -> Vec<Part> {
        let lens: Vec<usize> = answers.iter().map(|&i| self.lens[i]).collect();
        let weights = averaging.weights(&lens);
        let mut at = 0;
        let part = |answers: &[usize]| {
            let mut part = self.pad(answers, 0, 0);
            let n = part.tokens.numel();
            part.weights = flat_tensor(&weights[at..at + n]);
            part.share = n as f64 / weights.len() as f64;
            at += n;
            part
        };
        answers.chunks(micro_batch).map(part).collect()
    }

    /// Rows of these answers, `extra` columns wider than the longest needs, with `filler` behind their ends.
    fn pad(&self, answers: &[usize], extra: usize, filler: i64) -> Part {
        // The last token of an answer is predicted, never read.
        let read = |i: usize| self.prompts[i].len() + self.lens[i] - 1;
        let t = answers.iter().map(|&i| read(i)).max().unwrap_or(0) + extra;
        let mut ids = vec![filler; answers.len() * t];
        let (mut positions, mut tokens) = (Vec::new(), Vec::new());
        let mut starts = Vec::with_capacity(answers.len());
        for (row, &i) in answers.iter().enumerate() {
            let (prompt, answer) = (&self.prompts[i], &self.completions[i].tokens);
            let text = prompt.iter().chain(answer).take(read(i));
            for (to, &id) in ids[row * t..].iter_mut().zip(text) {
                *to = i64::from(id);
            }
            let before_first = row * t + prompt.len() - 1;
            positions.extend((0..answer.len()).map(|k| (before_first + k) as i64));
            tokens.extend(answer.iter().map(|&id| i64::from(id)));
            starts.push(self.lens[..i].iter().sum());
        }
        let n = tokens.len();
        Part {
            ranges: answers
                .iter()
                .zip(starts)
                .map(|(&i, start)| (start, self.lens[i]))
                .collect(),
            ids: Tensor::from_vec(ids, [answers.len(), t]),
            positions: Tensor::from_vec(positions, [n]),
            tokens: Tensor::from_vec(tokens, [n]),
            weights: flat_tensor(&vec![1.0; n]),
            share: 1.0,
        }
    }

    /// Computes a number for every answer token, without gradients; flat.
    pub(crate) fn over_tokens(&self, micro_batch: usize, f: impl Fn(&Part) -> Tensor) -> Vec<f64> {
        let all: Vec<usize> = (0..self.lens.len()).collect();
        let run = |answers: &[usize]| no_grad(|| f(&self.pad(answers, 0, 0))).to_vec::<f32>();
        let parts = all.chunks(micro_batch).flat_map(run);
        parts.map(f64::from).collect()
    }
}

/// Some answers of a rollout, padded on the right into one tensor.
#[derive(Clone, Debug)]
pub struct Part {
    /// Prompt and answer less its last token, `(B, T)` of i64.
    pub ids: Tensor,
    /// Which of the `B T` positions precede an answer token, `(N)` of i64.
    pub positions: Tensor,
    /// The answer tokens, `(N)` of i64.
    pub tokens: Tensor,
    /// What each of them weighs in the loss, `(N)`.
    pub weights: Tensor,
    /// The part's share of its minibatch's answer tokens.
    pub share: f64,
    /// Where each answer's tokens lie among the rollout's flat numbers, and how many they are.
    ranges: Vec<(usize, usize)>,
}

impl Part {
    /// What stands before answer tokens.
    ///
    /// # Shapes
    /// `(B, T, C)` -> `(N, C)`
    #[must_use]
    pub fn at_answers(&self, hidden: &Tensor) -> Tensor {
        let [b, t, c] = *hidden.shape() else {
            panic!("at_answers: {:?} is not (B, T, C)", hidden.shape())
        };
        hidden.reshape([b * t, c]).index_select(0, &self.positions)
    }

    /// Those of the rollout's flat numbers that belong to this part's tokens, `(N)`.
    #[must_use]
    pub fn pick(&self, flat: &[f64]) -> Tensor {
        flat_tensor(&self.pick_numbers(flat))
    }

    /// As [`Part::pick`], as numbers.
    #[must_use]
    pub fn pick_numbers(&self, flat: &[f64]) -> Vec<f64> {
        let of = |&(start, n): &(usize, usize)| &flat[start..start + n];
        self.ranges.iter().flat_map(of).copied().collect()
    }
}

fn flat_tensor(numbers: &[f64]) -> Tensor {
    let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
    let n = numbers.len();
    Tensor::from_vec(numbers, [n])
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
