//! The recipes inside the binary, so that it works from any folder and without any file.

use super::{Recipe, parse};

/// Name and text of each recipe in `recipes/`.
pub(crate) const BUILTIN: [(&str, &str); 4] = [
    (
        "speedrun",
        include_str!("../../../../recipes/speedrun.toml"),
    ),
    ("tiny", include_str!("../../../../recipes/tiny.toml")),
    (
        "shakespeare_char",
        include_str!("../../../../recipes/shakespeare_char.toml"),
    ),
    (
        "gpt2_124m",
        include_str!("../../../../recipes/gpt2_124m.toml"),
    ),
];

/// The recipe of this name, if there is one.
pub(crate) fn builtin(name: &str) -> Option<Recipe> {
    let (name, text) = BUILTIN.iter().find(|(known, _)| *known == name)?;
    // A test reads all of them, so this cannot fail in a released binary.
    Some(parse(text, &format!("the built-in recipe {name}")).expect("built-in recipes are valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_is_valid_and_bears_its_name() {
        for (name, _) in BUILTIN {
            let recipe = builtin(name).expect("is built in");
            assert_eq!(recipe.name, name);
            assert!(recipe.about.ends_with('.'), "{name}: {}", recipe.about);
            let again =
                parse(&toml::to_string(&recipe).expect("writes"), "written again").expect("reads");
            assert_eq!(recipe, again, "{name} survives being written and read");
        }
        assert!(builtin("nothing").is_none());
    }

    #[test]
    fn the_folder_of_recipes_and_the_binary_hold_the_same() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes");
        let files = std::fs::read_dir(folder).expect("the folder of recipes");
        let mut names: Vec<String> = files
            .filter_map(|entry| {
                entry
                    .ok()?
                    .file_name()
                    .into_string()
                    .ok()?
                    .strip_suffix(".toml")
                    .map(str::to_owned)
            })
            .collect();
        names.sort();
        let mut built_in: Vec<_> = BUILTIN.iter().map(|(name, _)| name.to_string()).collect();
        built_in.sort();
        assert_eq!(names, built_in);
    }
}
