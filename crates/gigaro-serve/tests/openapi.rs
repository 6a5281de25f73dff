//! The OpenAPI page says what the server does: every address is there, and each request's fields are exactly those that it knows.

mod service;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use gigaro_models::gpt::WeightFormat;
use gigaro_serve::conversations::Store;
use gigaro_serve::server::Server;
use serde_json::{Value, json};
use service::{get, model, post, raw, request, serve, settings, source, until};

fn page(server: &Server) -> Value {
    get(server, "/openapi.json").json()
}

fn schema<'a>(page: &'a Value, path: &str) -> &'a Value {
    let body = &page["paths"][path]["post"]["requestBody"]["content"]["application/json"];
    let name = body["schema"]["$ref"].as_str().expect("a reference");
    let name = name.rsplit('/').next().unwrap_or_default();
    &page["components"]["schemas"][name]
}

fn posts(page: &Value) -> Vec<String> {
    let paths = page["paths"].as_object().expect("paths");
    let posts = paths
        .iter()
        .filter(|(_, methods)| methods["post"].is_object());
    posts.map(|(path, _)| path.clone()).collect()
}

/// A path with the name of the model that is served.
fn of_small(path: &str) -> String {
    path.replace("{model}", "small")
}

#[test]
fn each_request_takes_the_fields_that_its_page_lists_and_no_others() {
    let server = serve(settings());
    let page = page(&server);
    let mut names: BTreeSet<String> = ["frobnicate".to_owned()].into();
    for path in posts(&page) {
        let fields = schema(&page, &path)["properties"].as_object();
        names.extend(fields.expect("properties").keys().cloned());
    }
    for path in posts(&page) {
        let schema = schema(&page, &path);
        assert_eq!(schema["additionalProperties"], false, "{path}");
        for name in &names {
            let mut body = schema["example"].clone();
            if body[name].is_null() {
                // Of no kind that any field has; what is wrong with it is not the question here.
                body[name] = json!([{ "odd": [] }]);
            }
            let answer = post(&server, &of_small(&path), &body);
            let unknown = answer
                .body
                .contains(&format!("there is no field {name} here"));
            let listed = schema["properties"].get(name).is_some();
            assert_eq!(unknown, !listed, "{path}: {name}: {}", answer.body);
        }
    }
}

/// The methods of an address on the page, without what they share.
fn methods(path: &Value) -> Vec<&str> {
    let path = path.as_object().expect("an object").keys();
    path.map(String::as_str)
        .filter(|name| *name != "parameters")
        .collect()
}

#[test]
fn the_chat_page_s_requests_are_listed_where_there_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open_or_create(folder.path().join("chat.db")).expect("made");
    let source = source("small", model(), WeightFormat::F32, Duration::ZERO);
    let host = Ipv4Addr::LOCALHOST.into();
    let server = Server::start(host, 0, vec![source], settings(), Some(store)).expect("starts");
    until(|| server.app().readiness().is_ok());
    let with_page = page(&server);
    let of_page: Vec<(&String, &Value)> = with_page["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .filter(|(path, _)| path.starts_with("/api/"))
        .collect();
    assert_eq!(of_page.len(), 14);
    for (path, described) in of_page {
        // Nothing has this number, which is said in other words than that there is no such address.
        let address = path.replace("{id}", "7");
        for method in methods(described) {
            let request = request(&method.to_uppercase(), &address, "", "");
            let answer = raw(server.address(), request.as_bytes());
            assert!(!matches!(answer.status, 0 | 405 | 500), "{method} {path}");
            assert!(
                !answer.body.contains("nothing under this address"),
                "{method} {path}"
            );
            let status = answer.status.to_string();
            assert!(
                described[method]["responses"].get(&status).is_some(),
                "{method} {path}: {status}"
            );
        }
    }
    assert!(
        page(&serve(settings()))["paths"]
            .get("/api/feedback")
            .is_none()
    );
}

#[test]
fn every_example_is_answered_and_every_address_is_there() {
    let server = serve(settings());
    let page = page(&server);
    for path in posts(&page) {
        let answer = post(&server, &of_small(&path), &schema(&page, &path)["example"]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    for (path, methods) in page["paths"].as_object().expect("paths") {
        let path = of_small(path);
        for method in self::methods(methods) {
            let request = request(&method.to_uppercase(), &path, "", "");
            let status = raw(server.address(), request.as_bytes()).status;
            assert!(
                !matches!(status, 0 | 404 | 405),
                "{method} {path}: {status}"
            );
        }
    }
}
