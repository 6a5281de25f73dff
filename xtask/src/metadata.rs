//! What `cargo metadata` says about the workspace and everything it depends on.
//!
//! Only the fields that the checks ask for; the licences are judged in [`crate::licences`], the direction of
//! dependencies in [`crate::tidy::crates`].

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One crate, of the workspace or from the registry.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression; `None` where the crate states none.
    pub(crate) licence: Option<String>,
    /// Where it comes from; `None` for a path inside this repository.
    pub(crate) source: Option<String>,
    pub(crate) description: Option<String>,
    /// Names of the crates it names in `[dependencies]` and `[build-dependencies]`.
    pub(crate) dependencies: Vec<String>,
    /// Names of the crates it names in `[dev-dependencies]`.
    pub(crate) dev_dependencies: Vec<String>,
}

impl Package {
    /// Whether the crate is one of this workspace's own.
    pub(crate) fn is_ours(&self) -> bool {
        self.source.is_none()
    }

    fn from_json(json: &Value) -> Self {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        let named = |wanted: fn(&str) -> bool| {
            let all = json["dependencies"].as_array().into_iter().flatten();
            let kept = all.filter(|d| wanted(d["kind"].as_str().unwrap_or("normal")));
            kept.filter_map(|d| d["name"].as_str().map(str::to_owned))
                .collect()
        };
        Package {
            name: text("name").unwrap_or_default(),
            version: text("version").unwrap_or_default(),
            licence: text("license"),
            source: text("source"),
            description: text("description"),
            dependencies: named(|kind| kind != "dev"),
            dev_dependencies: named(|kind| kind == "dev"),
        }
    }
}

/// Every package in the workspace's dependency graph, on all platforms.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()
        .map_err(|e| format!("cargo metadata could not be started: {e}."))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let json: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("cargo metadata printed something that is not JSON: {e}."))?;
    let packages = json["packages"]
        .as_array()
        .ok_or("cargo metadata printed no list of packages.")?;
    Ok(packages.iter().map(Package::from_json).collect())
}
