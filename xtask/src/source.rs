//! The repository as the rules see it: text files, and Rust files with comments and strings blanked out.
//!
//! This is a scanner, not a parser: it knows where comments, strings and characters begin and end, so that brackets
//! and names can be counted in what is left. The rules that use it are in [`crate::tidy`].

use std::ops::Range;
use std::path::Path;

/// Folders that hold no source of ours.
const SKIPPED_FOLDERS: [&str; 7] = [
    ".git",
    "target",
    "runs",
    "node_modules",
    "corpus",
    "artifacts",
    "__pycache__",
];

/// Endings of files that are text and written by hand.
const TEXT_ENDINGS: [&str; 9] = ["rs", "md", "toml", "py", "sh", "cu", "cuh", "html", "js"];

/// One text file of the repository.
pub(crate) struct File {
    /// Path from the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust: the text with comments, strings and character literals replaced by spaces, byte for byte.
    pub(crate) code: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with(".rs") {
            blank_comments_and_strings(&text)
        } else {
            String::new()
        };
        File { path, text, code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is a test, an example or a benchmark.
    pub(crate) fn is_test(&self) -> bool {
        let in_folder = |name: &str| self.path.split('/').any(|part| part == name);
        in_folder("tests") || in_folder("examples") || in_folder("benches")
    }

    /// Paths, without their ending, of the files that this one declares as `#[cfg(test)] mod name;`.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = name.trim_end_matches(".rs");
        let is_root = ["lib", "main", "mod"].contains(&stem);
        let below = if is_root {
            folder.to_owned()
        } else {
            format!("{folder}/{stem}")
        };
        let mut found = Vec::new();
        for (start, mark) in self.code.match_indices("#[cfg(test)]") {
            let item = self.code[start + mark.len()..]
                .split(['{', ';'])
                .next()
                .unwrap_or("");
            if let ["mod", module] = item.split_whitespace().collect::<Vec<_>>()[..] {
                found.push(format!("{below}/{module}"));
            }
        }
        found
    }

    /// The number, from 1, of the line that holds this byte.
    pub(crate) fn line_at(&self, byte: usize) -> usize {
        1 + self.text.as_bytes()[..byte]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
    }

    /// Byte ranges of the items marked `#[cfg(test)]`.
    pub(crate) fn test_regions(&self) -> Vec<Range<usize>> {
        let mut regions = Vec::new();
        for (start, mark) in self.code.match_indices("#[cfg(test)]") {
            let after = start + mark.len();
            let body = self.code[after..].find(['{', ';']).map(|i| after + i);
            if let Some(open) = body.filter(|&i| self.code.as_bytes()[i] == b'{') {
                regions.push(start..closing_brace(&self.code, open));
            }
        }
        regions
    }

    /// Every function with a body: its name and the byte range from `fn` to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, Range<usize>)> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        for (start, _) in self.code.match_indices("fn ") {
            if start > 0 && is_word(bytes[start - 1]) {
                continue;
            }
            let name: String = self.code[start + 3..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if name.is_empty() {
                continue;
            }
            if let Some(open) = body_start(&self.code, start) {
                found.push((name, start..closing_brace(&self.code, open)));
            }
        }
        found
    }
}

/// Reads every text file below `root`, sorted by path.
pub(crate) fn read_tree(root: &Path) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |e| format!("{} cannot be read: {e}.", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            );
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && is_text(&name) {
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| format!("{} cannot be read: {e}.", path.display()))?;
                let relative = path
                    .strip_prefix(root)
                    .expect("found below the root")
                    .to_string_lossy()
                    .replace('\\', "/");
                files.push(File::new(relative, text));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn is_text(name: &str) -> bool {
    name == "run"
        || name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| TEXT_ENDINGS.contains(&ending))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The opening brace of the function that starts at `start`, or `None` for a declaration without a body.
fn body_start(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(i),
            _ => {}
        }
    }
    None
}

/// One past the brace that closes the one at `open`; the end of the text if none does.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The text with every comment, string and character literal overwritten by spaces; newlines stay.
pub(crate) fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        match literal_or_comment_end(bytes, i) {
            Some(end) => {
                for b in &mut out[i..end] {
                    if *b != b'\n' {
                        *b = b' ';
                    }
                }
                i = end;
            }
            None => i += 1,
        }
    }
    String::from_utf8(out).expect("whole literals and comments were overwritten")
}

/// If a comment or a literal starts at `i`, one past its end.
fn literal_or_comment_end(bytes: &[u8], i: usize) -> Option<usize> {
    let rest = &bytes[i..];
    let inside_word = i > 0 && is_word(bytes[i - 1]);
    if rest.starts_with(b"//") {
        return Some(i + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(block_comment_end(bytes, i));
    }
    match rest[0] {
        b'"' => Some(quoted_end(bytes, i)),
        b'r' | b'b' | b'c' if !inside_word => prefixed_end(bytes, i),
        b'\'' => char_end(bytes, i),
        _ => None,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut i, mut depth) = (start, 0usize);
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    bytes.len()
}

/// The end of a `"…"` whose opening quote is at `start`.
fn quoted_end(bytes: &[u8], start: usize) -> usize {
    let mut i = start + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// The end of `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"` or `b'…'` at `start`, if one is there.
fn prefixed_end(bytes: &[u8], start: usize) -> Option<usize> {
    let letters = bytes[start..]
        .iter()
        .take(2)
        .take_while(|b| b"rbc".contains(b))
        .count();
    let raw = bytes[start..start + letters].contains(&b'r');
    let mut i = start + letters;
    let hashes = if raw {
        bytes[i..].iter().take_while(|&&b| b == b'#').count()
    } else {
        0
    };
    i += hashes;
    match bytes.get(i)? {
        b'"' if raw => {
            let close: Vec<u8> = std::iter::once(b'"')
                .chain(std::iter::repeat_n(b'#', hashes))
                .collect();
            let at = bytes[i + 1..]
                .windows(close.len())
                .position(|w| w == close)?;
            Some(i + 1 + at + close.len())
        }
        b'"' => Some(quoted_end(bytes, i)),
        b'\'' if !raw => char_end(bytes, i),
        _ => None,
    }
}

/// The end of a character literal at `start`; `None` where the quote starts a lifetime.
fn char_end(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start + 1) == Some(&b'\\') {
        let at = bytes.get(start + 3..)?.iter().position(|&b| b == b'\'')?;
        return Some(start + 3 + at + 1);
    }
    let text = std::str::from_utf8(&bytes[start + 1..bytes.len().min(start + 6)]);
    let first = match text {
        Ok(t) => t.chars().next()?.len_utf8(),
        Err(e) if e.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[start + 1..start + 1 + e.valid_up_to()])
                .ok()?
                .chars()
                .next()?
                .len_utf8()
        }
        Err(_) => return None,
    };
    (bytes.get(start + 1 + first) == Some(&b'\'')).then_some(start + 2 + first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked_and_nothing_else() {
        let check =
            |text: &str, expected: &str| assert_eq!(blank_comments_and_strings(text), expected);
        check("a // {\nb", "a     \nb");
        check("a /* { /* } */ */ b", "a                 b");
        check(r#"f("{\"}") + 1"#, "f(      ) + 1");
        check("r#\"{\"\"}\"# x", "          x");
        check("let c = '{'; x", "let c =    ; x");
        check(r"let c = '\''; x", "let c =     ; x");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("let c = 'é'; x", "let c =     ; x");
        check("number\"s\"", "number   ");
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let text = "fn a(x: [u8; 3]) -> u8 {\n  match x { _ => 1 }\n}\ntrait T { fn b(); fn c() {\n} }\ntype F = fn (u8);\n";
        let file = File::new("x.rs", text);
        let lines = |r: &Range<usize>| 1 + file.line_at(r.end - 1) - file.line_at(r.start);
        let found: Vec<_> = file
            .functions()
            .iter()
            .map(|(name, r)| (name.clone(), lines(r)))
            .collect();
        assert_eq!(found, [("a".to_owned(), 3), ("c".to_owned(), 2)]);
    }

    #[test]
    fn test_modules_are_known_as_such() {
        let file = File::new(
            "x.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n",
        );
        let regions = file.test_regions();
        assert_eq!(regions.len(), 1);
        assert!(file.text[regions[0].clone()].contains("fn b"));
        assert!(!file.text[regions[0].clone()].contains("fn c"));
    }
}
