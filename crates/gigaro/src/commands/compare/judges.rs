//! Who judges: the small world's truth, a reward model, or a language model behind an address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use gigaro_data::chat::Message;
use gigaro_data::world::Prompt;
use gigaro_serve::endpoint::{Endpoint, EndpointError, Key, Patience, is_private};
use gigaro_train::answers::Answer;
use gigaro_train::evaluate::{Judge, LanguageJudge, ScoreJudge};
use gigaro_train::reward::frozen_rewards;

use crate::failure::Usage;
use crate::output::Output;
use crate::pipeline::align::compare::truth;
use crate::pipeline::align::reward::{self, Opened};

/// Where a key is looked for unless another place is named: where OpenAI's own programs look.
const USUAL_KEY: &str = "OPENAI_API_KEY";

/// The flags that name a judge.
#[derive(Debug, clap::Args)]
pub(super) struct JudgeArgs {
    /// Who judges: `truth`, the small world's own; `reward:DIR`, a reward model that none of them was trained against; or the
    /// address of any server that speaks OpenAI's chat completions, such as http://127.0.0.1:8080/v1
    #[arg(long, value_name = "WHO", default_value = "truth")]
    judge: Who,

    /// Which of the models behind the address judges
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,

    /// The environment variable that holds the key for the address, if it wants one [default: OPENAI_API_KEY, which is not
    /// sent over plain http to another machine]
    #[arg(long, value_name = "VARIABLE")]
    judge_key_env: Option<String>,

    /// How long the server may take for one verdict, in seconds [default: 120]
    #[arg(long, value_name = "SECONDS")]
    judge_timeout: Option<NonZeroU32>,
}

/// Who judges.
#[derive(Clone, Debug)]
enum Who {
    Truth,
    Reward(PathBuf),
    Address(String),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "truth" => Ok(Self::Truth),
            Some(("reward", dir)) if !dir.is_empty() => Ok(Self::Reward(dir.into())),
            Some(("http" | "https", _)) => Ok(Self::Address(text.to_owned())),
            _ => Err(
                "give `truth`, `reward:DIR` with the folder of a reward model, or an address that begins with http:// or https://"
                    .into(),
            ),
        }
    }
}

impl JudgeArgs {
    /// The judge, ready to be asked: a server has answered once by then, so that a wrong address or key is told before the
    /// models have written anything.
    ///
    /// # Errors
    /// If the flags do not go together, the reward model is of no use, or the server does not answer.
    pub(super) fn judge(&self, output: &Output) -> Result<Box<dyn Judge>> {
        let Who::Address(address) = &self.judge else {
            let strays = [
                ("--judge-model", self.judge_model.is_some()),
                ("--judge-key-env", self.judge_key_env.is_some()),
                ("--judge-timeout", self.judge_timeout.is_some()),
            ];
            if let Some((flag, _)) = strays.iter().find(|(_, given)| *given) {
                let sentence = format!("{flag} is for a judge behind an address: give --judge URL");
                return Err(Usage(sentence).into());
            }
            return match &self.judge {
                Who::Reward(dir) => by_reward(dir),
                _ => Ok(Box::new(truth())),
            };
        };
        let Some(model) = self.judge_model.as_deref().filter(|name| !name.is_empty()) else {
            let sentence = "which model judges is not said: give its name with --judge-model, as the server at the address calls it";
            return Err(Usage(sentence.into()).into());
        };
        let mut patience = Patience::default();
        if let Some(seconds) = self.judge_timeout {
            patience.timeout = Duration::from_secs(seconds.get().into());
        }
        let key = self.key(address, output)?;
        let mut endpoint =
            Endpoint::new(address, model, key, patience).map_err(|e| Usage(e.to_string()))?;
        let name = format!("language model {}", endpoint.name());
        endpoint
            .ask(&[Message::user("Reply with the word A.")])
            .map_err(|e| unreachable(&name, &e))?;
        let told = name.clone();
        let ask =
            move |messages: &[Message]| endpoint.ask(messages).map_err(|e| unreachable(&told, &e));
        Ok(Box::new(LanguageJudge::new(name, ask)))
    }

    /// The key for an address. One that was meant for another server does not travel where everyone on the way can read it.
    fn key(&self, address: &str, output: &Output) -> Result<Key> {
        let from = self.judge_key_env.as_deref().unwrap_or(USUAL_KEY);
        let found = std::env::var_os(from).filter(|value| !value.is_empty());
        let found = match found.map(|value| value.into_string()).transpose() {
            Ok(found) => found,
            Err(_) => {
                return Err(Usage(format!("the key in {from} is not text: set it again")).into());
            }
        };
        let named = self.judge_key_env.is_some();
        if named && found.is_none() {
            let sentence =
                format!("--judge-key-env names {from}, and there is no such variable: set it");
            return Err(Usage(sentence).into());
        }
        let may_be_sent = named || is_private(address);
        if found.is_some() && !may_be_sent {
            output.say(format_args!(
                "{from} is not sent to {address}, where it would travel unencrypted; --judge-key-env {from} sends it all the same"
            ));
        }
        Ok(Key {
            from: from.to_owned(),
            secret: found.filter(|_| may_be_sent),
        })
    }
}

fn unreachable(judge: &str, error: &EndpointError) -> gigaro_train::Error {
    gigaro_train::Error::Judge {
        judge: judge.to_owned(),
        why: error.to_string(),
    }
}

/// A reward model as judge. It reads text in tokens of its own, so it need not share the models' tokenizer.
fn by_reward(dir: &Path) -> Result<Box<dyn Judge>> {
    let Opened { model, turns, .. } = reward::open(dir)?;
    let context = model.trunk.config.max_seq_len;
    // A model meets several others with the same answers.
    let known: RefCell<HashMap<(String, String), f64>> = RefCell::default();
    let score = move |prompt: &Prompt, answer: &str| -> gigaro_train::Result<f64> {
        let key = (prompt.text.clone(), answer.to_owned());
        if let Some(score) = known.borrow().get(&key) {
            return Ok(*score);
        }
        let messages = [Message::user(&prompt.text)];
        let asked = turns.prompt(&messages)?;
        let mut tokens = turns.answer(&messages, answer)?;
        tokens.truncate(context.saturating_sub(asked.len()));
        // What the judge cannot read decides nothing.
        let score = if tokens.is_empty() {
            f64::NAN
        } else {
            let answer = Answer {
                prompt: &asked,
                tokens: &tokens,
            };
            f64::from(frozen_rewards(&model, &[answer], 1)[0])
        };
        known.borrow_mut().insert(key, score);
        Ok(score)
    };
    let name = format!("reward model in {}", dir.display());
    Ok(Box::new(ScoreJudge::new(name, score)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_is_the_truth_a_reward_model_or_behind_an_address() {
        assert!(matches!("truth".parse(), Ok(Who::Truth)));
        let folder = "reward:runs/a:b".parse();
        assert!(matches!(folder, Ok(Who::Reward(dir)) if dir == Path::new("runs/a:b")));
        for address in ["http://a/v1", "https://a"] {
            assert!(matches!(address.parse(), Ok(Who::Address(found)) if found == address));
        }
        for wrong in ["", "reward", "reward:", "human:me", "api.openai.com/v1"] {
            let said = wrong.parse::<Who>().expect_err(wrong);
            assert!(said.contains("reward:DIR"), "{said}");
        }
    }
}
