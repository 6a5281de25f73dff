//! The Dockerfile and the Kubernetes manifests say what the program really has: its flags, addresses, port, counters and keys.
//!
//! Neither Docker nor Kubernetes is needed; what they themselves would find wrong is not looked for.

mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gigaro_serve::engine::{EngineSettings, ModelSource};
use gigaro_serve::keys::Keys;
use gigaro_serve::server::{Access, App, Front, Limits, Settings};
use running::gigaro_in;
use yaml_rust2::{Yaml, YamlLoader};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All documents of a manifest.
fn manifest(name: &str) -> Vec<Yaml> {
    let text = text(&format!("deploy/kubernetes/{name}"));
    YamlLoader::load_from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn string(yaml: &Yaml) -> String {
    yaml.as_str()
        .unwrap_or_else(|| panic!("no text: {yaml:?}"))
        .to_owned()
}

fn list(yaml: &Yaml) -> Vec<String> {
    let list = yaml.as_vec().unwrap_or_else(|| panic!("no list: {yaml:?}"));
    list.iter().map(string).collect()
}

/// The program knows this command with these flags. `--help` comes last, so that all before it is read and nothing is begun.
#[track_caller]
fn check_command(words: &[String]) {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.push("--help");
    let run = gigaro_in(Path::new("."), &words);
    assert_eq!(run.code, 0, "{words:?}: {}", run.stderr);
}

/// The lines of the Dockerfile that begin with this word, in its second stage, without the word.
fn instructions(word: &str) -> Vec<String> {
    let text = text("deploy/Dockerfile");
    let last = text.rfind("\nFROM ").expect("two stages");
    let lines = text[last..].lines();
    lines
        .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .map(str::to_owned)
        .collect()
}

fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

fn container() -> Yaml {
    manifest("deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0].clone()
}

/// What `/metrics` answers; a model need not be there for its counters to be.
fn counters() -> String {
    let source = ModelSource {
        adapters: Vec::new(),
        name: "chat".to_owned(),
        load: Arc::new(|_| Err("there is none".to_owned())),
    };
    let settings = Settings {
        access: Access::LoopbackOnly,
        limits: Limits::default(),
        front: Front::default(),
        engine: EngineSettings::default(),
    };
    let app = App::start(vec![source], settings).expect("starts");
    app.metrics().text()
}

#[test]
fn a_flag_that_is_not_there_would_be_found() {
    let run = gigaro_in(Path::new("."), &["serve", "--frobnicate=1", "--help"]);
    assert_eq!(run.code, 2);
}

#[test]
fn the_container_runs_a_command_that_there_is_and_not_as_root() {
    assert_eq!(instructions("ENTRYPOINT"), ["[\"gigaro\"]"]);
    let command = words(&instructions("CMD")[0]);
    check_command(&command);
    let health = instructions("HEALTHCHECK").remove(0);
    let (_, health) = health.split_once("CMD ").expect("a command");
    let health = words(health);
    assert_eq!(health[0], "gigaro");
    check_command(&health[1..]);
    let port = &instructions("EXPOSE")[0];
    assert!(command.contains(&format!("--port={port}")), "{command:?}");
    assert!(health[2].ends_with(&format!(":{port}")), "{health:?}");
    let user = &instructions("USER")[0];
    assert!(
        user.split(':')
            .all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)),
        "{user}"
    );
    // The compiler is one that the project takes.
    let version = text("Cargo.toml");
    let version = version
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let image = format!(
        "FROM rust:{}-",
        version.expect("a version").trim_matches('"')
    );
    assert!(text("deploy/Dockerfile").contains(&image), "{image}");
}

#[test]
fn the_deployment_has_flags_ports_and_addresses_that_there_are() {
    let container = container();
    let args = list(&container["args"]);
    check_command(&args);
    let port = container["ports"][0]["containerPort"]
        .as_i64()
        .expect("a port");
    assert!(args.contains(&format!("--port={port}")), "{args:?}");
    let name = string(&container["ports"][0]["name"]);
    let openapi: serde_json::Value =
        serde_json::from_str(&text("crates/gigaro-serve/src/api/openapi.json")).expect("JSON");
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        let path = string(&get["path"]);
        assert!(
            openapi["paths"][&path]["get"].is_object(),
            "{probe}: {path}"
        );
        assert_eq!(string(&get["port"]), name, "{probe}");
    }
    // What stands in an argument as $(NAME) is a variable that is set.
    let variables = container["env"].as_vec().expect("variables");
    let variables: Vec<String> = variables.iter().map(|v| string(&v["name"])).collect();
    for arg in &args {
        for name in arg
            .split("$(")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            assert!(variables.contains(&name.to_owned()), "{arg}");
        }
    }
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(security["allowPrivilegeEscalation"].as_bool(), Some(false));
}

#[test]
fn what_one_manifest_names_is_in_the_others() {
    let deployment = &manifest("deployment.yaml")[0];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    let service = &manifest("service.yaml")[0];
    assert_eq!(&service["spec"]["selector"], labels);
    let target = &service["spec"]["ports"][0]["targetPort"];
    assert_eq!(target, &container()["ports"][0]["name"]);
    let budget = &manifest("disruption.yaml")[0];
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let scaler = &manifest("autoscaler.yaml")[0]["spec"];
    assert_eq!(
        scaler["scaleTargetRef"]["name"],
        deployment["metadata"]["name"]
    );
    let counters = counters();
    for metric in scaler["metrics"].as_vec().expect("metrics") {
        let name = string(&metric["pods"]["metric"]["name"]);
        assert!(counters.contains(&format!("# TYPE {name} gauge")), "{name}");
    }
    let listed = list(&manifest("kustomization.yaml")[0]["resources"]);
    assert_eq!(listed.len(), 4);
    for name in listed {
        assert!(!manifest(&name).is_empty(), "{name}");
    }
}

#[test]
fn the_secrets_are_those_that_the_deployment_takes_and_hold_keys_that_can_be_read() {
    let secrets = manifest("secrets.example.yaml");
    let names: Vec<String> = secrets
        .iter()
        .map(|s| string(&s["metadata"]["name"]))
        .collect();
    let deployment = text("deploy/kubernetes/deployment.yaml");
    for name in ["secretName: ", "secretKeyRef:\n                  name: "] {
        let (_, rest) = deployment.split_once(name).expect(name);
        let name = rest.lines().next().unwrap_or_default();
        assert!(names.contains(&name.to_owned()), "{name}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("keys.toml");
    fs::write(&path, string(&secrets[0]["stringData"]["keys.toml"])).expect("written");
    let keys = Keys::read(&path).expect("keys");
    assert_eq!(&*keys.all()[0].name, "ann");
    let args = list(&container()["args"]);
    assert!(args.contains(&"--api-key-file=/keys/keys.toml".to_owned()));
}
