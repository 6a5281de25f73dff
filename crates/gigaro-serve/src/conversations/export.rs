//! A conversation as a file for people or programs.

use super::error::{Error, Result};
use super::{Conversation, Message, State, Store};
use gigaro_data::chat::Role;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How a conversation is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportForm {
    /// Everything: all branches, settings, ratings.
    #[default]
    Json,
    /// The branch on the screen, to read.
    Markdown,
}

impl Store {
    /// A conversation in one of the forms.
    ///
    /// # Errors
    /// If it is not there or not this owner's, or the store cannot be read.
    pub fn export(&mut self, owner: &str, id: i64, form: ExportForm) -> Result<String> {
        let conversation = self.read(owner, id)?;
        Ok(match form {
            ExportForm::Json => {
                let text = serde_json::to_string_pretty(&conversation).map_err(|error| {
                    let problem = format!("conversation {id} cannot be written as JSON ({error})");
                    Error::refused(problem, "export it as Markdown")
                })?;
                text + "\n"
            }
            ExportForm::Markdown => markdown(&conversation),
        })
    }
}

fn markdown(conversation: &Conversation) -> String {
    let mut text = format!("# {}\n", conversation.title);
    if !conversation.system.is_empty() {
        text.push_str(&format!(
            "\n> {}\n",
            conversation.system.replace('\n', "\n> ")
        ));
    }
    for message in conversation.shown() {
        let heading = match message.role {
            Role::User => "You".to_owned(),
            _ => message
                .model
                .clone()
                .unwrap_or_else(|| "Assistant".to_owned()),
        };
        text.push_str(&format!(
            "\n## {heading}\n\n{}\n",
            message.content.trim_end()
        ));
        let remark = match message.state {
            State::Complete => continue,
            State::Streaming => "still being written",
            State::Stopped => "stopped here",
            State::Interrupted => "interrupted here: the server ended",
            State::Failed => "ended here with an error",
        };
        text.push_str(&format!("\n*({remark})*\n"));
    }
    text
}

impl Conversation {
    /// The messages of the branch on the screen, from the first to the leaf.
    pub fn shown(&self) -> Vec<&Message> {
        let by_id: BTreeMap<i64, &Message> = self
            .messages
            .iter()
            .map(|message| (message.id, message))
            .collect();
        let mut branch = Vec::new();
        let mut next = self.leaf;
        while let Some(message) = next.and_then(|id| by_id.get(&id)) {
            branch.push(*message);
            // A parent was there before its child, so that this ends even in a file that somebody has changed.
            next = message.parent.filter(|parent| *parent < message.id);
        }
        branch.reverse();
        branch
    }
}
