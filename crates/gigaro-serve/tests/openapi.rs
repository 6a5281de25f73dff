//! The OpenAPI page says what the server does: every address is there, and each request's fields are exactly those that it knows.

mod service;

use std::collections::BTreeSet;

use gigaro_serve::server::Server;
use serde_json::{Value, json};
use service::{get, post, raw, request, serve, settings};

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
        for method in methods.as_object().expect("methods").keys() {
            let request = request(&method.to_uppercase(), &path, "", "");
            let status = raw(server.address(), request.as_bytes()).status;
            assert!(
                !matches!(status, 0 | 404 | 405),
                "{method} {path}: {status}"
            );
        }
    }
}
