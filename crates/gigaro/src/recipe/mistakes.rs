//! What is wrong with a recipe, in a sentence with file, line, and the nearest thing that would be right.
//!
//! The parser knows the place and the facts, but speaks of Rust: `invalid type: string "a", expected usize`. Here its words become
//! ones for someone who writes recipes. A message of a shape not known here is passed on as it is, still with its line.

/// The closest of `known` to a misspelled word, if any is close.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance =
        |other: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase());
    let near = known.iter().map(|k| (distance(k), *k)).min()?;
    // A third of the letters wrong is a slip; more is another word. A long common beginning also tells what was meant.
    let close = near.0 <= word.chars().count().max(3) / 3;
    let begun = || {
        known
            .iter()
            .copied()
            .find(|k| word.len() >= 3 && (k.starts_with(word) || word.starts_with(*k)))
    };
    if close { Some(near.1) } else { begun() }
}

/// The parser's error as a sentence.
pub(super) fn explain(error: &toml::de::Error, source: &str, place: &str) -> String {
    let message = error.message();
    let Some(span) = error.span() else {
        return format!("{place}: {message}");
    };
    let start = span.start.min(source.len());
    let line = source.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1;
    let section = section_of(source, line);
    format!(
        "{place}, line {line}: {}",
        in_words(message, source, line, &section)
    )
}

fn in_words(message: &str, source: &str, line: usize, section: &str) -> String {
    let quoted = backticked(message);
    if message.starts_with("unknown field") {
        let (key, known) = quoted
            .split_first()
            .map_or(("", &[][..]), |(k, rest)| (*k, rest));
        let hint = nearest(key, known).map_or_else(
            || format!("known there are {}", known.join(", ")),
            |k| format!("did you mean `{k}`?"),
        );
        // A misspelled header is a key of the file, not of the section it would open.
        let place = if section == format!("[{key}]") {
            "the recipe"
        } else {
            section
        };
        return format!("there is no key `{key}` in {place}; {hint}");
    }
    if message.starts_with("unknown variant") {
        let (given, known) = quoted
            .split_first()
            .map_or(("", &[][..]), |(k, rest)| (*k, rest));
        let hint = nearest(given, known)
            .map(|k| format!("; did you mean \"{k}\"?"))
            .unwrap_or_default();
        return format!(
            "{} is \"{given}\", but must be one of {}{hint}",
            key_on(source, line),
            known.join(", ")
        );
    }
    if message.starts_with("missing field") {
        let place = if section == "the recipe" {
            "it"
        } else {
            section
        };
        return format!(
            "{place} lacks the key `{}`, which has no default",
            quoted.first().unwrap_or(&"")
        );
    }
    if let Some((found, expected)) = message
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!(
            "{} must be {}, but is {}",
            key_on(source, line),
            type_in_words(expected),
            found_in_words(found)
        );
    }
    if let Some((found, expected)) = message
        .strip_prefix("invalid value: ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!(
            "{} must be {}, but is {}",
            key_on(source, line),
            type_in_words(expected),
            found_in_words(found)
        );
    }
    message.trim_end().replace('\n', "; ")
}

/// What stands between backticks, in order.
fn backticked(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// The key that a line sets, or the line's number where it sets none.
fn key_on(source: &str, line: usize) -> String {
    let text = source.lines().nth(line - 1).unwrap_or_default().trim();
    match text.split_once('=') {
        Some((key, _)) => format!("`{}`", key.trim()),
        None if text.starts_with('[') => text.to_owned(),
        None => "the value".to_owned(),
    }
}

/// The section that a line belongs to.
fn section_of(source: &str, line: usize) -> String {
    let before: Vec<&str> = source.lines().take(line).collect();
    let header = before
        .iter()
        .rev()
        .map(|l| l.trim())
        .find(|l| l.starts_with('['));
    match header.and_then(|h| h.split(']').next()) {
        Some(open) => format!("{open}]"),
        None => "the recipe".to_owned(),
    }
}

fn type_in_words(expected: &str) -> &str {
    match expected.trim_end() {
        "usize" | "u64" | "u32" | "u16" => "a whole number, 0 or more",
        "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list in [ ]",
        "a map" => "a section of its own",
        other if other.starts_with("struct ") => "a section of its own",
        other => other,
    }
}

fn found_in_words(found: &str) -> String {
    let mut words = found
        .replace("string \"", "the text \"")
        .replace("integer `", "`")
        .replace("floating point `", "`");
    words = words.replace("boolean `", "`");
    match words.as_str() {
        "map" => "a section".into(),
        "sequence" => "a list".into(),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::parse;

    const GOOD: &str = "name = \"a\"\nabout = \"b.\"\n[model]\nform = \"gpt2\"\nn_layer = 1\nn_head = 1\nd_model = 8\nmax_seq_len = 8\n\
        [pretrain]\nsteps = 1\nbatch_size = 1\nlearning_rate = 1e-3\n";

    fn check(from: &str, to: &str, expected: &str) {
        assert!(GOOD.contains(from));
        let complaint = parse(&GOOD.replacen(from, to, 1), "my.toml")
            .expect_err("must be refused")
            .to_string();
        assert_eq!(complaint, expected);
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_remedy() {
        assert!(parse(GOOD, "my.toml").is_ok());
        check(
            "n_layer",
            "n_layers",
            "my.toml, line 5: there is no key `n_layers` in [model]; did you mean `n_layer`?",
        );
        check(
            "steps = 1",
            "steps = 1\nbatchsize = 4",
            "my.toml, line 11: there is no key `batchsize` in [pretrain]; did you mean `batch_size`?",
        );
        check(
            "steps = 1",
            "steps = \"many\"",
            "my.toml, line 10: `steps` must be a whole number, 0 or more, but is the text \"many\"",
        );
        check(
            "steps = 1",
            "steps = -1",
            "my.toml, line 10: `steps` must be a whole number, 0 or more, but is `-1`",
        );
        check(
            "steps = 1",
            "steps = 1.5",
            "my.toml, line 10: `steps` must be a whole number, 0 or more, but is `1.5`",
        );
        check(
            "1e-3",
            "true",
            "my.toml, line 12: `learning_rate` must be a number, but is `true`",
        );
        check(
            "\"gpt2\"",
            "\"gpt3\"",
            "my.toml, line 4: `form` is \"gpt3\", but must be one of gpt2, llama, modern; did you mean \"gpt2\"?",
        );
        check(
            "[pretrain]",
            "[pretrian]",
            "my.toml, line 9: there is no key `pretrian` in the recipe; did you mean `pretrain`?",
        );
        check(
            "steps = 1\n",
            "",
            "my.toml, line 9: [pretrain] lacks the key `steps`, which has no default",
        );
        check(
            "name = \"a\"\n",
            "",
            "my.toml, line 1: it lacks the key `name`, which has no default",
        );
        check(
            "name = \"a\"",
            "name = \"a\"\nrun = 3",
            "my.toml, line 2: `run` must be a section of its own, but is `3`",
        );
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let complaint = parse("name = \"a\"\nabout = \"b\n", "my.toml")
            .expect_err("must be refused")
            .to_string();
        assert!(complaint.starts_with("my.toml, line 2: "), "{complaint}");
        let twice = parse("name = \"a\"\nname = \"b\"\n", "my.toml")
            .expect_err("must be refused")
            .to_string();
        assert!(twice.starts_with("my.toml, line 2: "), "{twice}");
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(
            super::nearest("lerning_rate", &["steps", "learning_rate"]),
            Some("learning_rate")
        );
        assert_eq!(super::nearest("banana", &["steps", "learning_rate"]), None);
        assert_eq!(
            super::nearest("save", &["steps", "save_every"]),
            Some("save_every")
        );
    }
}
