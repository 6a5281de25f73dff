//! What a reply has to be: a grammar, and which tokens it allows next.
//!
//! The parser is llguidance's, which walks over the tokenizer's own tokens; here is what it is given (tokens, grammars, bounds), and what
//! becomes of its answers. The mask is applied by the sampler (`gigaro_models::generate`), and computed on the thread that draws, a text
//! to a thread. What requests may say is not here but in `crate::api`.

use std::fmt;
use std::sync::Arc;

use gigaro_data::Tokenizer;
use gigaro_models::generate::TokenMask;
use llguidance::api::{GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value, json};

/// Longest grammar or schema, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Brackets that may be open at once: parsers of grammars go down a level for each.
const MAX_NESTING: usize = 100;
/// Space between the parts of a JSON value: one blank, or a new line and what it is indented by. A small model may write blanks for ever
/// where it is let.
const JSON_SPACE: &str = r"( |\n {0,8})";
/// The name by which the opening refers to the grammar that it stands before.
const REPLY: &str = "reply";

/// A grammar as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// JSON that this schema describes.
    JsonSchema {
        /// The schema, an object or a boolean.
        schema: Value,
        /// Whether keywords that cannot be kept are refused; otherwise they are passed over.
        strict: bool,
    },
    /// A grammar in Lark's form, whose first rule is `start`.
    Lark(String),
    /// A regular expression that the whole reply matches.
    Regex(String),
}

impl Grammar {
    /// The schema as the parser is given it, with the bounds that belong to all.
    fn bounded_schema(schema: &Value, strict: bool) -> Value {
        let mut object = match schema {
            Value::Object(object) => object.clone(),
            // The schema of everything, or of nothing.
            other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
        };
        let options = json!({ "whitespace_pattern": JSON_SPACE, "lenient": !strict });
        object.insert("x-guidance".to_owned(), options);
        Value::Object(object)
    }

    /// The schema as it may stand inside a Lark grammar.
    pub(crate) fn schema_in_lark(schema: &Value, strict: bool) -> String {
        format!("%json {}", Self::bounded_schema(schema, strict))
    }

    /// The text that its bounds are about.
    fn text(&self) -> String {
        match self {
            Self::JsonSchema { schema, .. } => schema.to_string(),
            Self::Lark(text) | Self::Regex(text) => text.clone(),
        }
    }

    fn with_lexer(&self) -> GrammarWithLexer {
        match self {
            Self::JsonSchema { schema, strict } => {
                GrammarWithLexer::from_json_schema(Self::bounded_schema(schema, *strict))
            }
            Self::Lark(text) => GrammarWithLexer::from_lark(text.clone()),
            Self::Regex(pattern) => GrammarWithLexer::from_regex(pattern),
        }
    }
}

/// Compiles grammars for the tokens of one model.
pub struct Grammars {
    factory: ParserFactory,
}

impl Grammars {
    /// The tokens of a tokenizer. Special ones are no text: each of them ends a reply, and may come where the grammar may end.
    ///
    /// # Errors
    /// If the library takes no such tokens.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, String> {
        let size = tokenizer.vocab_size() as u32;
        let word = |id: u32| match tokenizer.token_bytes(id) {
            // The library's mark for special tokens; no text in UTF-8 has such a byte.
            [0xFF, ..] => Vec::new(),
            _ if tokenizer.is_special(id) => Vec::new(),
            bytes => bytes.to_vec(),
        };
        let words: Vec<Vec<u8>> = (0..size).map(word).collect();
        let ends: Vec<u32> = tokenizer.specials().iter().map(|&(_, id)| id).collect();
        let end = ends.first().copied().unwrap_or(u32::MAX);
        let mut trie = TokTrie::from(&TokRxInfo::new(size, end), &words);
        if !ends.is_empty() {
            trie = trie.with_eos_tokens(&ends);
        }
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let caps = InferenceCapabilities::default();
        let mut factory = ParserFactory::new(&tokens, caps, &slices).map_err(|e| e.to_string())?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            // A request waits for its own grammar only, but whoever writes grammars should not fill the memory.
            max_lexer_states: 50_000,
            max_grammar_size: 100_000,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(Self { factory })
    }

    /// The constraint that a grammar puts on a reply. With `after_space` the reply may begin with a space that the grammar does not speak
    /// of, as messages do.
    ///
    /// # Errors
    /// In a sentence, if the grammar is too long or deep, cannot be understood, or cannot be written in this model's tokens.
    pub fn compile(&self, grammar: &Grammar, after_space: bool) -> Result<Constraint, String> {
        check_bounds(&grammar.text())?;
        let mut reply = grammar.with_lexer();
        let grammars = if after_space {
            let opening = GrammarWithLexer::from_lark(format!("start: \" \"? @{REPLY}"));
            reply.name = Some(REPLY.to_owned());
            vec![opening, reply]
        } else {
            vec![reply]
        };
        let whole = TopLevelGrammar {
            grammars,
            max_tokens: None,
        };
        let matcher = Matcher::new(self.factory.create_parser(whole));
        if let Some(reason) = matcher.get_error() {
            return Err(sentence(&reason));
        }
        let mut constraint = Constraint {
            matcher,
            mask: Vec::new(),
        };
        // What no token can begin would otherwise fail in the middle of a step.
        constraint.allowed()?;
        Ok(constraint)
    }
}

/// What the library says, for people.
fn sentence(reason: &str) -> String {
    // So it names the end at which no token can follow.
    if reason.starts_with("NoExtensionBias") {
        return "no token of this model goes on in the way that the grammar wants".to_owned();
    }
    let reason = reason.replace("<non-verbose/>", "");
    reason.trim().to_owned()
}

fn check_bounds(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        let n = text.len();
        return Err(format!(
            "it has {n} bytes, but at most {MAX_BYTES} are taken"
        ));
    }
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    if deepest > MAX_NESTING {
        return Err(format!(
            "{deepest} of its brackets are open at once, but at most {MAX_NESTING} may be"
        ));
    }
    Ok(())
}

/// How far a reply is in its grammar. A clone begins where the original is and shares nothing with it, so that replies do not depend on
/// each other.
pub struct Constraint {
    matcher: Matcher,
    mask: Vec<u32>,
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Self {
            matcher: self.matcher.deep_clone(),
            mask: self.mask.clone(),
        }
    }
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = &self.matcher.stop_reason();
        f.debug_struct("Constraint").field("ended", ended).finish()
    }
}

impl Constraint {
    /// The tokens that may come next; those that end a reply among them if it may end here.
    ///
    /// # Errors
    /// If there is none, or the grammar takes more work than is allowed for one token: a sentence.
    pub(super) fn allowed(&mut self) -> Result<TokenMask<'_>, String> {
        let mask = self.matcher.compute_mask();
        let mask = mask.map_err(|e| sentence(&e.to_string()))?;
        self.mask.clear();
        self.mask.extend_from_slice(mask.as_slice());
        Ok(TokenMask::new(&self.mask))
    }

    /// Goes on behind a token of the reply, which must be an allowed one.
    ///
    /// # Errors
    /// As [`Constraint::allowed`].
    pub(super) fn accept(&mut self, token: u32) -> Result<(), String> {
        let accepted = self.matcher.consume_token(token);
        accepted.map_err(|e| sentence(&e.to_string()))
    }

    /// Whether the reply is whole, and nothing can follow.
    pub(super) fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
