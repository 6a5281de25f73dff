//! Conversations in which functions are called, for templates that have words for that.
//!
//! Messages and functions are JSON as OpenAI's API has it, with the arguments of calls as objects, which is how transformers gives them
//! to templates. Every text in them is guarded like the words of a message.

use serde_json::{Map, Value, json};

use super::guard::Marks;
use super::{ChatTemplate, Written, engine};
use crate::{Error, Result};

impl ChatTemplate {
    /// Whether the template has words for functions.
    #[must_use]
    pub fn knows_tools(&self) -> bool {
        engine::asks_for(&self.engine, "tools")
    }

    /// What a model reads before it writes the next answer, if it may call `tools` in it. A message has `role`, `content`, and where there
    /// are any `tool_calls`, `tool_call_id` and `name`.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt`].
    pub fn prompt_with_tools(&self, messages: &[Value], tools: &[Value]) -> Result<Vec<u32>> {
        let whole = json!([messages, tools]).to_string();
        let Some(marks) = Marks::absent_from([whole.as_str(), &self.source].into_iter()) else {
            return Err(Error::malformed(
                &self.place,
                "the messages hold every one of Unicode's noncharacters, of which three are needed to keep words and marks apart",
                "take the noncharacters U+FDD0 to U+FDEF out of the messages",
            ));
        };
        let guarded = |value: &Value| {
            let value = self.guarded(value, &marks);
            serde_json::from_value::<minijinja::Value>(value)
                .map_err(|e| Error::malformed(&self.place, e.to_string(), "send plain JSON"))
        };
        let tools: Result<Vec<_>> = tools.iter().map(guarded).collect();
        let tools = Some(tools?).filter(|tools| !tools.is_empty());
        let scene = engine::Scene {
            messages: messages.iter().map(guarded).collect::<Result<_>>()?,
            tools: tools.map(minijinja::Value::from),
            bytes: whole.len(),
            add_generation_prompt: true,
            tokens: &self.tokens,
            learn: marks.learn(),
            date: self.date,
        };
        let text = engine::render(&self.engine, &self.place, scene)?;
        self.to_be_answered(&Written { text, marks })
    }

    /// The same value, in whose texts and keys no special token can be found.
    fn guarded(&self, value: &Value, marks: &Marks) -> Value {
        let guard = |text: &str| marks.guard(text, self.tokenizer.specials()).into_owned();
        match value {
            Value::String(text) => guard(text).into(),
            Value::Array(list) => list.iter().map(|one| self.guarded(one, marks)).collect(),
            Value::Object(object) => {
                let pairs = object.iter();
                let pairs = pairs.map(|(key, one)| (guard(key), self.guarded(one, marks)));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}
