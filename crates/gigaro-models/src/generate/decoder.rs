//! One reply: a prompt goes through the model once, then a token at a time until the reply ends.
//!
//! Many replies at once are `batch.rs`. Not the tokeniser either: the caller says which bytes a token
//! has and which tokens end a reply.

use super::draft::Draft;
use super::{FinishReason, SampleError, Sampled, SamplingParams, TokenLogprobs};
use crate::gpt::{Gpt, KvCache};

/// What the tokeniser knows and generation needs.
pub trait Vocabulary {
    /// The bytes of a token; empty for special tokens.
    fn token_bytes(&self, id: u32) -> &[u8];
    /// Whether a reply ends with this token.
    fn is_end(&self, id: u32) -> bool;
}

/// A finished reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// Its text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Per token, if the request asks for them.
    pub logprobs: Vec<TokenLogprobs>,
}

/// Replies to `prompt`. `on_text` receives pieces of text as they become certain and says whether
/// to go on. Tokens of the prompt that `cache` holds already (from the conversation so far) are not
/// read again.
///
/// `history` are the tokens in row 0 of the cache; it is extended by what was read, so that the same pair can
/// serve the next turn.
///
/// # Errors
/// If the model's logits are not finite or nothing may be sampled.
/// # Panics
/// If the prompt is empty or does not fit into the context with at least one token of reply.
#[track_caller]
pub fn reply(
    model: &Gpt,
    cache: &mut KvCache,
    history: &mut Vec<u32>,
    prompt: &[u32],
    params: &SamplingParams,
    vocabulary: &dyn Vocabulary,
    on_text: &mut dyn FnMut(&str) -> bool,
) -> Result<Reply, SampleError> {
    assert!(!prompt.is_empty(), "reply: the prompt is empty");
    // The last token is always read again: its logits are needed.
    let same = history
        .iter()
        .zip(&prompt[..prompt.len() - 1])
        .take_while(|(a, b)| a == b)
        .count();
    cache.truncate(0, same);
    history.truncate(same);
    let mut draft = Draft::new(prompt, params);
    let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
    let mut logits = read(model, cache, history, &prompt[same..]);
    let finish_reason = loop {
        let Sampled {
            token,
            logprobs: report,
        } = draft.draw(&logits)?;
        if !draft.is_end(token, vocabulary) {
            tokens.push(token);
            logprobs.extend(report);
        }
        let taken = draft.take(token, cache.room(0), vocabulary);
        if !taken.piece.is_empty() && !on_text(&taken.piece) {
            break FinishReason::Cancelled;
        }
        if let Some(reason) = taken.finish_reason {
            break reason;
        }
        logits = read(model, cache, history, &[token]);
    };
    let rest = draft.finish();
    if !rest.is_empty() {
        on_text(&rest);
    }
    Ok(Reply {
        tokens,
        text: draft.text().to_owned(),
        finish_reason,
        logprobs,
    })
}

fn read(model: &Gpt, cache: &mut KvCache, history: &mut Vec<u32>, ids: &[u32]) -> Vec<f32> {
    history.extend_from_slice(ids);
    model.decode(ids, cache)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use gigaro_tensor::Generator;

    struct Bytes([u8; 256]);
    impl Vocabulary for Bytes {
        fn token_bytes(&self, id: u32) -> &[u8] {
            &self.0[id as usize..=id as usize]
        }
        fn is_end(&self, id: u32) -> bool {
            id == 0
        }
    }

    fn model() -> Gpt {
        let c = GptConfig::gpt2(128, 24, 1, 2, 16);
        Gpt::new(&c, &Generator::new(1))
    }

    fn ask(
        model: &Gpt,
        state: &mut (KvCache, Vec<u32>),
        prompt: &[u32],
        params: &SamplingParams,
    ) -> (Reply, String) {
        let vocabulary = Bytes(std::array::from_fn(|i| i as u8));
        let mut streamed = String::new();
        let reply = reply(
            model,
            &mut state.0,
            &mut state.1,
            prompt,
            params,
            &vocabulary,
            &mut |piece| {
                streamed.push_str(piece);
                true
            },
        );
        (reply.expect("finite logits"), streamed)
    }

    #[test]
    fn a_seed_fixes_the_reply_and_the_stream_equals_the_text() {
        let model = model();
        let params = SamplingParams {
            max_tokens: 12,
            seed: 4,
            ignore_eos: true,
            ..SamplingParams::default()
        };
        let run = || {
            ask(
                &model,
                &mut (KvCache::new(&model), Vec::new()),
                &[5, 6, 7],
                &params,
            )
        };
        let ((a, streamed), (b, _)) = (run(), run());
        assert_eq!((&a.tokens, &a.text), (&b.tokens, &b.text));
        assert_eq!((streamed, a.tokens.len()), (a.text, 12));
    }

    #[test]
    fn a_second_turn_on_the_same_cache_equals_a_fresh_start() {
        let model = model();
        let params = SamplingParams {
            max_tokens: 4,
            ignore_eos: true,
            ..SamplingParams::greedy()
        };
        let mut state = (KvCache::new(&model), Vec::new());
        let (first, _) = ask(&model, &mut state, &[5, 6, 7], &params);
        let next = [&[5, 6, 7][..], &first.tokens[..], &[9, 8]].concat();
        let (warm, _) = ask(&model, &mut state, &next, &params);
        let (cold, _) = ask(
            &model,
            &mut (KvCache::new(&model), Vec::new()),
            &next,
            &params,
        );
        assert_eq!(warm.tokens, cold.tokens);
    }

    #[test]
    fn a_full_context_ends_the_reply_by_length() {
        let model = model();
        let params = SamplingParams {
            max_tokens: 100,
            ignore_eos: true,
            ..SamplingParams::greedy()
        };
        let (reply, _) = ask(
            &model,
            &mut (KvCache::new(&model), Vec::new()),
            &[1; 20],
            &params,
        );
        assert_eq!(
            (reply.finish_reason, reply.tokens.len()),
            (FinishReason::Length, 5)
        );
    }
}
