//! Recipes in words: what must be reached and what it cost, as lines for people.

use gigaro_train::quantity::Seconds;

use super::{Cost, MustReach, Recipe};

impl Recipe {
    /// What a reader must know of a whole run whose text or conversations are the user's own, since the rest is the small world's.
    pub(crate) fn of_two_worlds(&self) -> Option<String> {
        let sft = self.sft.as_ref()?;
        let (text, chats) = (self.data.text.is_some(), sft.chats.is_some());
        let judged = match self.reward {
            Some(_) => "the preferences and the questions at the end",
            None => "the questions at the end",
        };
        match (text, chats) {
            (false, false) => None,
            (true, false) => Some(format!(
                "only the text is your own. The conversations, {judged} are the small world's, which that text says nothing about, \
                 so few answers will be right; give your own conversations with --chats FILE."
            )),
            (_, true) => Some(format!(
                "{judged} are still the small world's, which your own conversations say nothing about, so few answers will be right."
            )),
        }
    }
}

impl MustReach {
    /// Name and bound of each figure that is asked for.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let share = |x: Option<f64>, word: &str| {
            x.map(|x| format!("{word} {:.0} %", 100.0 * x))
                .unwrap_or_default()
        };
        vec![
            (
                "validation loss",
                self.validation_loss_at_most
                    .map(|x| format!("at most {x}"))
                    .unwrap_or_default(),
            ),
            (
                "held-out accuracy",
                share(self.held_out_accuracy_at_least, "at least"),
            ),
            (
                "accuracy before fine-tuning",
                share(self.base_accuracy_at_most, "at most"),
            ),
            (
                "preferred to the fine-tuned model",
                share(self.ppo_win_rate_at_least, "at least"),
            ),
            (
                "harmful requests refused",
                share(self.refusal_harmful_at_least, "at least"),
            ),
            (
                "harmless requests refused",
                share(self.refusal_harmless_at_most, "at most"),
            ),
            (
                "small aligned model preferred to the big base",
                share(self.small_win_rate_at_least, "at least"),
            ),
            (
                "time",
                self.seconds_at_most
                    .map(|s| format!("at most {}", Seconds(s)))
                    .unwrap_or_default(),
            ),
        ]
    }
}

impl Cost {
    /// What was measured, or the one line that says nothing was.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        if self.machine.is_empty() {
            return vec![("measured", "not yet".into())];
        }
        vec![
            ("machine", self.machine.clone()),
            (
                "time",
                self.seconds
                    .map(|s| Seconds(s).to_string())
                    .unwrap_or_default(),
            ),
            (
                "peak memory",
                self.peak_memory_gb
                    .map(|gb| format!("{gb} GB"))
                    .unwrap_or_default(),
            ),
            ("reached", self.reached.clone()),
        ]
    }
}
