//! The little grammar that frames need: articles, plurals, past tenses, lists, numbers in words.
//!
//! Not a grammar of English: it covers the words of this world, and its tests say so word by word.

/// `a` or `an`, by the first sound of the word.
pub(crate) fn article(word: &str) -> &'static str {
    let lower = word.trim_start_matches(['"', '\'']).to_ascii_lowercase();
    // Letters that sound like a consonant ("a useful tool"), and a silent h ("an hour").
    const CONSONANT_SOUND: [&str; 5] = ["uni", "use", "one", "eu", "ewe"];
    const VOWEL_SOUND: [&str; 3] = ["hour", "honest", "heir"];
    if VOWEL_SOUND.iter().any(|p| lower.starts_with(p)) {
        return "an";
    }
    if CONSONANT_SOUND.iter().any(|p| lower.starts_with(p)) {
        return "a";
    }
    // Numbers that are spoken with a vowel first: 8, 11, 18, 80 to 89.
    if lower.starts_with('8') || lower == "11" || lower == "18" {
        return "an";
    }
    if lower.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

/// The word with its indefinite article.
pub(crate) fn with_article(word: &str) -> String {
    format!("{} {word}", article(word))
}

/// Nouns whose plural follows no rule.
pub(crate) const IRREGULAR_PLURALS: [(&str, &str); 16] = [
    ("mouse", "mice"),
    ("goose", "geese"),
    ("sheep", "sheep"),
    ("fish", "fish"),
    ("deer", "deer"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("ox", "oxen"),
    ("wolf", "wolves"),
    ("calf", "calves"),
    ("loaf", "loaves"),
    ("leaf", "leaves"),
    ("knife", "knives"),
];

/// The plural of a noun, or of the last noun of a phrase.
pub(crate) fn plural(noun: &str) -> String {
    let (before, last) = match noun.rfind(' ') {
        Some(space) => noun.split_at(space + 1),
        None => ("", noun),
    };
    if let Some((_, many)) = IRREGULAR_PLURALS.iter().find(|(one, _)| *one == last) {
        return format!("{before}{many}");
    }
    let ends = |tail: &str| last.ends_with(tail);
    if ends("s") || ends("x") || ends("z") || ends("ch") || ends("sh") {
        return format!("{noun}es");
    }
    if let Some(stem) = noun.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    format!("{noun}s")
}

/// Verbs with their third person and past forms. The past of a regular verb is listed as well: an instruction asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verb {
    /// `walk`
    pub(crate) plain: &'static str,
    /// `walks`
    pub(crate) third: &'static str,
    /// `walked`
    pub(crate) past: &'static str,
    /// What may follow in a sentence: `to the mill`.
    pub(crate) tail: &'static str,
}

const fn verb(
    plain: &'static str,
    third: &'static str,
    past: &'static str,
    tail: &'static str,
) -> Verb {
    Verb {
        plain,
        third,
        past,
        tail,
    }
}

/// The verbs of the world's grammar lessons.
pub(crate) const VERBS: [Verb; 36] = [
    verb("walk", "walks", "walked", "to the mill"),
    verb("run", "runs", "ran", "down the hill"),
    verb("eat", "eats", "ate", "a red apple"),
    verb("drink", "drinks", "drank", "cold milk"),
    verb("sing", "sings", "sang", "an old song"),
    verb("write", "writes", "wrote", "a long letter"),
    verb("read", "reads", "read", "a good book"),
    verb("see", "sees", "saw", "a white swan"),
    verb("go", "goes", "went", "to the market"),
    verb("come", "comes", "came", "home late"),
    verb("give", "gives", "gave", "the dog a bone"),
    verb("take", "takes", "took", "the small boat"),
    verb("buy", "buys", "bought", "a loaf of bread"),
    verb("sell", "sells", "sold", "an old horse"),
    verb("catch", "catches", "caught", "a big fish"),
    verb("find", "finds", "found", "a lost coin"),
    verb("lose", "loses", "lost", "a silver ring"),
    verb("make", "makes", "made", "a wooden table"),
    verb("build", "builds", "built", "a stone wall"),
    verb("bake", "bakes", "baked", "a sweet cake"),
    verb("cook", "cooks", "cooked", "some hot soup"),
    verb("wash", "washes", "washed", "the dirty plates"),
    verb("open", "opens", "opened", "the heavy door"),
    verb("close", "closes", "closed", "the small window"),
    verb("paint", "paints", "painted", "the garden gate"),
    verb("carry", "carries", "carried", "a full basket"),
    verb("help", "helps", "helped", "the old man"),
    verb("draw", "draws", "drew", "a tall tree"),
    verb("ride", "rides", "rode", "a brown horse"),
    verb("swim", "swims", "swam", "in the river"),
    verb("sleep", "sleeps", "slept", "in a soft bed"),
    verb("wake", "wakes", "woke", "before the sun"),
    verb("hear", "hears", "heard", "the church bell"),
    verb("tell", "tells", "told", "a funny story"),
    verb("break", "breaks", "broke", "the blue cup"),
    verb("plant", "plants", "planted", "an oak tree"),
];

/// Numbers up to twenty-five in words.
pub(crate) const NUMBER_WORDS: [&str; 26] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "twenty-one",
    "twenty-two",
    "twenty-three",
    "twenty-four",
    "twenty-five",
];

/// `a, b and c`.
pub(crate) fn join(items: &[&str]) -> String {
    match items {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Appends the text with its first letter in upper case.
pub(crate) fn push_capitalised(out: &mut String, text: &str) {
    let start = out.len();
    out.push_str(text);
    capitalise_at(out, start);
}

/// Makes the first letter from `start` on a capital, past an opening quotation mark.
pub(crate) fn capitalise_at(out: &mut str, start: usize) {
    let quote = usize::from(out[start..].starts_with('"'));
    if let Some(first) = out.get_mut(start + quote..start + quote + 1) {
        first.make_ascii_uppercase();
    }
}

/// The text with its first letter in upper case, as a new string.
pub(crate) fn capitalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_capitalised(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_follow_the_first_sound() {
        for (word, want) in [
            ("owl", "an"),
            ("fox", "a"),
            ("hour", "an"),
            ("useful tool", "a"),
            ("8", "an"),
            ("elephant", "an"),
        ] {
            assert_eq!(article(word), want, "{word}");
        }
    }

    #[test]
    fn plurals_follow_the_rules_and_the_exceptions() {
        for (one, many) in [
            ("fox", "foxes"),
            ("mouse", "mice"),
            ("puppy", "puppies"),
            ("boy", "boys"),
            ("red fish", "red fish"),
            ("dish", "dishes"),
            ("wolf", "wolves"),
        ] {
            assert_eq!(plural(one), many);
        }
    }

    #[test]
    fn lists_end_with_and() {
        assert_eq!(join(&["a"]), "a");
        assert_eq!(join(&["a", "b"]), "a and b");
        assert_eq!(join(&["a", "b", "c"]), "a, b and c");
    }
}
