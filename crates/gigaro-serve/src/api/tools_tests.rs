//! Functions as requests describe them, and calls out of text that comes in pieces of any length.

use super::*;
use proptest::prelude::*;

fn read(json: &Value) -> Result<Tools, String> {
    let sentence = |e: ApiError| e.message().to_owned();
    let mut fields = Fields::parse(json.to_string().as_bytes()).map_err(sentence)?;
    let tools = Tools::read(&mut fields, true).map_err(sentence)?;
    fields.finish().map_err(sentence)?;
    Ok(tools)
}

fn look() -> Value {
    json!({ "type": "function", "function": { "name": "look", "parameters": { "type": "object" } } })
}

#[test]
fn functions_and_choices_are_read_as_clients_send_them() {
    let tools = read(&json!({ "tools": [look()] })).expect("read");
    assert!(tools.are_offered() && tools.parallel && tools.choice == Choice::Auto);
    assert_eq!(tools.described(), [look()]);
    assert!(!read(&json!({})).expect("read").are_offered());
    for (choice, expected, offered) in [
        (json!("none"), Choice::None, false),
        (json!("auto"), Choice::Auto, true),
        (json!("required"), Choice::Required, true),
        (
            json!({ "type": "function", "function": { "name": "look" } }),
            Choice::Named("look".into()),
            true,
        ),
    ] {
        let tools = read(&json!({ "tools": [look()], "tool_choice": choice })).expect("read");
        assert_eq!((&tools.choice, tools.are_offered()), (&expected, offered));
    }
}

#[test]
fn what_cannot_be_called_is_refused_by_its_place() {
    for (json, sentence) in [
        (
            json!({ "tools": 1 }),
            "tools must be a list of functions, but is 1",
        ),
        (
            json!({ "tools": [{ "type": "code_interpreter" }] }),
            "tools[0].type is not available: only functions can be called here",
        ),
        (
            json!({ "tools": [{ "type": "function" }] }),
            "tools[0].function is missing",
        ),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "a b" } }] }),
            "tools[0].function.name must be 1 to 64 letters, digits, underscores or dashes",
        ),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "a", "parameters": [] } }] }),
            "tools[0].function.parameters must be a JSON schema, an object, but is a list",
        ),
        (
            json!({ "tools": [look(), look()] }),
            "tools has two functions called look",
        ),
        (
            json!({ "tool_choice": "auto" }),
            "tool_choice only makes sense with tools",
        ),
        (
            json!({ "tools": [look()], "tool_choice": { "type": "function", "function": { "name": "see" } } }),
            "tool_choice names \"see\", which is none of tools",
        ),
    ] {
        assert_eq!(read(&json), Err(sentence.to_owned()));
    }
}

/// Pieces put together again: words, and calls with their arguments.
fn taken_apart<'a>(pieces: impl Iterator<Item = &'a str>) -> (String, Vec<(String, String)>) {
    let (mut reader, mut words, mut calls) = (CallReader::default(), String::new(), Vec::new());
    let mut said: Vec<Said> = pieces.flat_map(|piece| reader.push(piece)).collect();
    said.extend(reader.finish());
    for said in said {
        match said {
            Said::Text(text) => words += &text,
            Said::Call(name) => calls.push((name, String::new())),
            Said::Arguments(more) => calls.last_mut().expect("a call").1 += &more,
        }
    }
    assert_eq!(reader.calls(), calls.len());
    (words, calls)
}

#[test]
fn words_that_only_look_like_a_call_are_words() {
    for text in [
        "",
        "a < b",
        "<tool_call>",
        "<tool_call>\n{\"nam",
        "so: <tool_call> no",
    ] {
        assert_eq!(
            taken_apart([text].into_iter()),
            (text.to_owned(), Vec::new())
        );
    }
}

#[test]
fn a_call_that_was_cut_off_is_as_long_as_it_is() {
    let text = call_text("look", "{\"a\": 1");
    let cut = text.strip_suffix(CLOSE).expect("it ends with its tag");
    let expected = vec![("look".to_owned(), "{\"a\": 1".to_owned())];
    assert_eq!(taken_apart([cut].into_iter()), (String::new(), expected));
}

proptest! {
    #[test]
    fn a_reply_is_taken_apart_alike_wherever_its_pieces_end(
        words in "[ a-z<\n]{0,12}",
        arguments in prop::collection::vec("[a-z\"}{<>/\\\\ :]{0,12}", 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let calls: Vec<String> = arguments.iter().map(|a| call_text("look", a)).collect();
        let text = format!("{words}{}", calls.join("\n"));
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        ends.extend([0, text.len()]);
        ends.sort_unstable();
        let pieces = ends.windows(2).map(|pair| &text[pair[0]..pair[1]]);
        let expected: Vec<_> = arguments.iter().map(|a| ("look".to_owned(), a.clone())).collect();
        prop_assert_eq!(taken_apart(pieces), (words, expected));
    }
}
