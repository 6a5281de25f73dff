//! A conversation with a model behind an address: any server that speaks OpenAI's API.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::Result;
use gigaro_data::chat::Message;
use gigaro_serve::endpoint::{Endpoint, Heard, is_private};

use super::Args;
use super::input::Input;
use super::talk::Talk;
use super::words::Line;
use crate::interrupt::{self, Stoppable};
use crate::output::Output;
use crate::remote;

/// How often it looks whether the reply is to be stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// Talks to the model at `server` until the user leaves.
///
/// # Errors
/// If the address or the key is none, no model can be found there, or input cannot be read. A reply that fails is told, and the
/// conversation goes on.
pub(super) fn run(args: &Args, server: &str, output: &Output) -> Result<()> {
    let endpoint = remote::endpoint(server, args.api_key_file.as_deref(), args.model.as_deref())?;
    if args.api_key_file.is_some() && !is_private(server) {
        output.complain(format_args!(
            "warning: whoever is between here and {server} can read the key and what is said, since it is not https"
        ));
    }
    let endpoint = endpoint.drawing(args.sampling.given(args.compute.seed));
    let mut talk = Talk::new(args.system.clone());
    let mut input = Input::new()?;
    let stoppable = interrupt::catch_each()?;
    if input.is_terminal() {
        output.say(format_args!(
            "{}. /help lists the commands.",
            endpoint.name()
        ));
    }
    while !output.is_closed() {
        let Some(line) = input.next()? else { break };
        match Line::parse(&line) {
            Line::Quit => break,
            Line::Say(words) => answer(&endpoint, &mut talk, words, &stoppable, output),
            other => talk.obey(other, output),
        }
    }
    Ok(())
}

/// Shows the answer as it is written, and keeps both turns; a question without any answer is taken back.
fn answer(
    endpoint: &Endpoint,
    talk: &mut Talk,
    words: String,
    stoppable: &Stoppable,
    output: &Output,
) {
    talk.turns.push(Message::user(words));
    stoppable.begin();
    let stream = endpoint.stream(&talk.messages());
    let mut answer = String::new();
    let ending = loop {
        if stoppable.is_stopped() || output.is_closed() {
            break Ok(" (stopped)");
        }
        match stream.recv_timeout(LOOK_AGAIN) {
            Ok(Ok(Heard::Piece(piece))) => {
                let piece = printable(&piece);
                output.piece(&piece);
                answer += &piece;
            }
            Ok(Ok(Heard::End(reason))) => {
                let cut = reason.as_deref() == Some("length");
                break Ok(if cut { " ..." } else { "" });
            }
            Ok(Err(error)) => break Err(error.to_string()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Err("gigaro has a bug here: the reply ended without an end".to_owned());
            }
        }
    };
    match ending {
        Ok(ending) => output.say(ending),
        Err(sentence) => {
            if !answer.is_empty() {
                output.say(" (broken off)");
            }
            output.complain(format_args!("error: {sentence}"));
        }
    }
    if answer.is_empty() {
        talk.turns.pop();
    } else {
        talk.turns.push(Message::assistant(answer));
    }
}

/// The text without what could play tricks on a terminal: another machine wrote it.
fn printable(text: &str) -> String {
    let harmless = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().filter(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\tü\u{9b}1m"), "a[2Jb\n\tü1m");
    }
}
