//! Reads recipes from files or by name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{BUILTIN, Recipe, builtin, check, mistakes};
use crate::failure::Usage;

/// Largest file that is read as a recipe, in bytes; a longer one is something else.
const MAX_BYTES: u64 = 1 << 20;

/// The recipe in a file, or else the built-in one of that name.
///
/// # Errors
/// Sentences with file, line and remedy.
pub(crate) fn load(file_or_name: &str) -> Result<Recipe> {
    let path = Path::new(file_or_name);
    if path.is_file() {
        return parse(&read(path)?, file_or_name);
    }
    if let Some(recipe) = builtin(file_or_name) {
        return Ok(recipe);
    }
    if path.is_dir() {
        return Err(Usage(format!(
            "{file_or_name} is a folder, but a recipe is a TOML file"
        ))
        .into());
    }
    let names = BUILTIN.map(|(name, _)| name);
    let known = mistakes::nearest(file_or_name, &names).map_or_else(
        || format!("built in are {}", names.join(", ")),
        |near| format!("did you mean the built-in recipe {near}?"),
    );
    Err(Usage(format!("there is no recipe file {file_or_name}; {known}")).into())
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let size = fs::metadata(path)
        .with_context(|| format!("cannot read the recipe {shown}"))?
        .len();
    if size > MAX_BYTES {
        return Err(Usage(format!(
            "{shown} has {size} bytes, which is too long for a recipe: is it another file?"
        ))
        .into());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read the recipe {shown}"))?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        Usage(format!(
            "{shown}, line {line}: not UTF-8 text; save the recipe as UTF-8"
        ))
        .into()
    })
}

/// The recipe in a text; `place` names the text in sentences.
///
/// # Errors
/// Sentences with place, line and remedy.
pub(crate) fn parse(text: &str, place: &str) -> Result<Recipe> {
    let recipe: Recipe =
        toml::from_str(text).map_err(|error| Usage(mistakes::explain(&error, text, place)))?;
    check::check(&recipe).map_err(|complaint| Usage(format!("{place}: {complaint}")))?;
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::{Generator, testing::mutated};

    use super::*;

    #[test]
    fn the_manual_has_a_line_for_every_key() {
        let manual = include_str!("../../../../docs/recipes.md");
        let complaint = |text: &str| {
            let wrong = toml::from_str::<Recipe>(text).expect_err("has a key that nobody knows");
            wrong.message().to_owned()
        };
        let known = |complaint: &str| -> Vec<String> {
            let names = complaint.split('`').skip(1).step_by(2).skip(1);
            names.map(str::to_owned).collect()
        };
        let sections = known(&complaint("nobody_knows = 1"));
        assert!(sections.len() > 12, "{sections:?}");
        for section in sections
            .iter()
            .filter(|s| !["name", "about"].contains(&s.as_str()))
        {
            let (_, rest) = manual
                .split_once(&format!("## `[{section}]`"))
                .unwrap_or_else(|| panic!("[{section}] is not in the manual"));
            let table = rest.split_once("\n## ").map_or(rest, |(table, _)| table);
            let told = table.matches("\n| `").count();
            let keys = known(&complaint(&format!("[{section}]\nnobody_knows = 1")));
            for key in &keys {
                let line = format!("\n| `{key}` | ");
                assert!(
                    table.contains(&line),
                    "[{section}] {key} is not in the manual"
                );
            }
            assert_eq!(told, keys.len(), "[{section}] {keys:?}");
        }
    }

    #[test]
    fn no_recipe_panics_and_what_is_read_can_be_written_and_read_again() {
        let dice = Generator::new(1);
        let (mut read, mut refused) = (0, 0);
        for case in 0..3000 {
            let (_, text) = BUILTIN[case % BUILTIN.len()];
            let Ok(text) = String::from_utf8(mutated(text.as_bytes(), &dice)) else {
                continue;
            };
            match parse(&text, "foreign.toml") {
                Ok(recipe) => {
                    let again = toml::to_string(&recipe).expect("writes");
                    assert_eq!(parse(&again, "again").expect("reads"), recipe);
                    read += 1;
                }
                Err(error) => {
                    assert!(error.to_string().starts_with("foreign.toml"), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(read > 100 && refused > 1000, "{read} {refused}");
    }
}
