//! A server of models that a command is to ask: its address, its key, its model.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use gigaro_serve::endpoint::{Endpoint, Key, Patience};

use crate::failure::Usage;

/// The model `model` of a server, or the first one that it lists; asks the server only then.
///
/// # Errors
/// If the address or the key is none, or no model is named and the server lists none.
pub(crate) fn endpoint(
    server: &str,
    key_file: Option<&Path>,
    model: Option<&str>,
) -> Result<Endpoint> {
    let secret = key_file.map(read_key).transpose()?;
    let key = Key {
        from: match key_file {
            Some(path) => path.display().to_string(),
            None => "--api-key-file".to_owned(),
        },
        secret,
    };
    let address = with_version(server);
    let endpoint = Endpoint::new(
        &address,
        model.unwrap_or_default(),
        key,
        Patience::default(),
    )
    .map_err(|e| Usage(e.to_string()))?;
    if model.is_some() {
        return Ok(endpoint);
    }
    let models = endpoint.models()?;
    // The list is never empty.
    let first = models.first().map_or("", String::as_str);
    Ok(endpoint.with_model(first))
}

/// The first line of a file that is neither empty nor a remark. A server's own file of keys may hold hashes, which are no keys.
fn read_key(path: &Path) -> Result<String> {
    let shown = path.display();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the key in {shown}"))?;
    let mut lines = text.lines().map(str::trim);
    let key = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    match key {
        Some(key) if !key.contains(':') => Ok(key.to_owned()),
        Some(_) => Err(Usage(format!(
            "{shown} holds the name and the hash of a key: give a file with the key itself"
        ))
        .into()),
        None => Err(Usage(format!("{shown} holds no key: put it on a line")).into()),
    }
}

/// OpenAI's API is under `/v1`; an address without any path means that.
fn with_version(server: &str) -> String {
    let bare = server.trim_end_matches('/');
    let after_scheme = bare.find("://").map_or(0, |at| at + 3);
    if bare[after_scheme..].contains('/') {
        bare.to_owned()
    } else {
        format!("{bare}/v1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_means_the_first_version_of_the_api() {
        let check = |given, expected: &str| assert_eq!(with_version(given), expected);
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1");
        check("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1");
        check("https://a.b/v1/", "https://a.b/v1");
        check("https://a.b/api/v2", "https://a.b/api/v2");
        check("nonsense", "nonsense/v1");
    }
}
