//! Replies that are held to a form: JSON, grammars, and calls of functions, whole and streamed, alone and in company.

mod service;

use std::time::Duration;

use gigaro_models::generate::SamplingParams;
use gigaro_models::gpt::WeightFormat;
use gigaro_serve::engine::{
    Constraint, EngineSettings, Event, Failure, GenerateRequest, Grammar, ReadyModel, Ticket,
};
use gigaro_serve::server::Server;
use serde_json::{Value, json};
use service::{engine, post, serve_all, settings, source, tokenizer, wide_model};

/// JSON that even a random model finishes soon.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "who": { "enum": ["king", "city", "river"] },
            "age": { "type": "integer", "minimum": 10, "maximum": 99 },
            "wet": { "type": "boolean" },
        },
        "required": ["who", "age", "wet"],
        "additionalProperties": false,
    })
}

/// A server whose model has room for descriptions of functions.
fn serve() -> Server {
    let small = source("small", wide_model(), WeightFormat::F32, Duration::ZERO);
    serve_all(vec![small], settings())
}

fn is_described(value: &Value) -> bool {
    let who = value["who"].as_str().unwrap_or_default();
    let age = value["age"].as_u64().unwrap_or_default();
    ["king", "city", "river"].contains(&who)
        && (10..=99).contains(&age)
        && value["wet"].is_boolean()
        && value.as_object().is_some_and(|object| object.len() == 3)
}

fn parsed(text: &Value) -> Value {
    let text = text.as_str().expect("a text");
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn asked(more: Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "who reads?" }], "seed": 3 });
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    body
}

fn chat(server: &Server, more: Value) -> Value {
    let answer = post(server, "/v1/chat/completions", &asked(more));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[test]
fn every_reply_is_the_json_that_was_asked_for() {
    let server = serve();
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema(), "strict": true } });
    let answer = chat(
        &server,
        json!({ "response_format": format, "n": 12, "temperature": 2 }),
    );
    let mut different = std::collections::BTreeSet::new();
    for choice in answer["choices"].as_array().expect("choices") {
        assert_eq!(choice["finish_reason"], "stop");
        let content = parsed(&choice["message"]["content"]);
        assert!(is_described(&content), "{content}");
        different.insert(content.to_string());
    }
    assert!(different.len() > 3, "it is still drawn: {different:?}");
    // The other addresses and forms say the same.
    let completion = post(
        &server,
        "/v1/completions",
        &json!({ "prompt": "the king", "max_tokens": 200, "response_format": format }),
    );
    assert!(is_described(&parsed(
        &completion.json()["choices"][0]["text"]
    )));
    let format = json!({ "type": "json_schema", "name": "x", "schema": schema() });
    let response = post(
        &server,
        "/v1/responses",
        &json!({ "input": "who reads?", "text": { "format": format } }),
    );
    let response = response.json();
    assert_eq!(response["text"]["format"], format);
    assert!(is_described(&parsed(
        &response["output"][0]["content"][0]["text"]
    )));
    let grammar = json!({ "type": "regex", "value": "(yes|no), [0-9]{3}" });
    let answer = chat(&server, json!({ "grammar": grammar }));
    let content = answer["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text");
    assert!(
        content.len() <= 8 && content.ends_with(|c: char| c.is_ascii_digit()),
        "{content}"
    );
}

#[test]
fn log_probabilities_stay_those_of_the_model() {
    let server = serve();
    let grammar = json!({ "type": "regex", "value": "the old city" });
    let held = chat(
        &server,
        json!({ "grammar": grammar, "logprobs": true, "top_logprobs": 20 }),
    );
    let tokens = held["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("tokens");
    // What has to be written is not what the model would have: others are more probable, and it says so.
    let unlikely = tokens.iter().filter(|token| {
        let own = token["logprob"].as_f64().expect("a number");
        let best = token["top_logprobs"][0]["logprob"].as_f64();
        own < best.expect("a number") - 1.0
    });
    assert!(unlikely.count() > 2, "{tokens:?}");
}

#[test]
fn a_form_that_cannot_be_kept_is_refused_with_the_reason() {
    let server = serve();
    for (more, param, part) in [
        (
            json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": { "type": "odd" } } } }),
            "response_format",
            "odd",
        ),
        (json!({ "grammar": "start: nowhere" }), "grammar", "nowhere"),
        (
            json!({ "grammar": { "type": "regex", "value": "(" } }),
            "grammar",
            "held to grammar",
        ),
        (
            json!({ "grammar": { "type": "regex", "value": "((".repeat(9000) } }),
            "grammar",
            "at once",
        ),
        (
            json!({ "grammar": { "type": "regex", "value": "a".repeat(70_000) } }),
            "grammar",
            "bytes",
        ),
        (
            json!({ "grammar": "start: \"a\"", "ignore_eos": true }),
            "ignore_eos",
            "leave out",
        ),
        (
            json!({ "grammar": "start: \"a\"", "tools": [look()] }),
            "grammar",
            "cannot be held to a grammar of another form",
        ),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "odd" } } }] }),
            "tools",
            "odd",
        ),
    ] {
        let answer = post(&server, "/v1/chat/completions", &asked(more.clone()));
        let text: String = more.to_string().chars().take(80).collect();
        assert_eq!(answer.status, 400, "{text}: {}", answer.body);
        assert_eq!(
            answer.json()["error"]["param"],
            param,
            "{text}: {}",
            answer.body
        );
        assert!(answer.sentence().contains(part), "{text}: {}", answer.body);
    }
    chat(&server, json!({ "max_tokens": 3 }));
}

fn look() -> Value {
    json!({ "type": "function", "function": { "name": "look_up", "description": "Looks something up", "parameters": schema() } })
}

fn wait() -> Value {
    let parameters = json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 } },
        "required": ["n"], "additionalProperties": false });
    json!({ "type": "function", "function": { "name": "wait", "parameters": parameters, "strict": true } })
}

fn check_call(call: &Value) -> String {
    assert_eq!(call["type"], "function");
    assert!(
        call["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("call_")),
        "{call}"
    );
    let arguments = parsed(&call["function"]["arguments"]);
    let name = call["function"]["name"].as_str().expect("a name");
    match name {
        "look_up" => assert!(is_described(&arguments), "{arguments}"),
        "wait" => assert!(
            arguments["n"].as_u64().is_some_and(|n| n < 10),
            "{arguments}"
        ),
        other => panic!("there is no function {other}"),
    }
    name.to_owned()
}

#[test]
fn a_required_call_is_a_call_with_arguments_that_fit() {
    let server = serve();
    let mut called = Vec::new();
    for seed in 0..8 {
        let answer = chat(
            &server,
            json!({ "tools": [look(), wait()], "tool_choice": "required", "parallel_tool_calls": false, "seed": seed }),
        );
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        let calls = choice["message"]["tool_calls"].as_array().expect("calls");
        assert_eq!(calls.len(), 1, "{calls:?}");
        called.push(check_call(&calls[0]));
    }
    called.sort();
    called.dedup();
    assert_eq!(called, ["look_up", "wait"], "the model chooses");
    let named = json!({ "type": "function", "function": { "name": "wait" } });
    let answer = chat(
        &server,
        json!({ "tools": [look(), wait()], "tool_choice": named }),
    );
    let calls = answer["choices"][0]["message"]["tool_calls"].clone();
    assert_eq!(check_call(&calls[0]), "wait");
    // What was called, and what came of it, can be told again.
    let talk = json!([
        { "role": "user", "content": "who reads?" },
        { "role": "assistant", "content": null, "tool_calls": calls },
        { "role": "tool", "tool_call_id": calls[0]["id"], "content": "the king" },
    ]);
    let answer = chat(
        &server,
        json!({ "messages": talk, "tools": [wait()], "max_tokens": 5 }),
    );
    assert!(
        answer["usage"]["prompt_tokens"].as_u64() > Some(50),
        "{answer}"
    );
}

/// A model that would never call anything by chance is made to by a bias on its first token.
#[test]
fn a_reply_may_be_words_or_calls_and_streams_as_it_would_be_whole() {
    let server = serve();
    let tag = tokenizer().encode("<")[0];
    let mut seen = (false, false);
    for (seed, bias) in (0..6).flat_map(|seed| [(seed, 0), (seed, 100)]) {
        let more = json!({
            "tools": [look(), wait()], "seed": seed, "max_tokens": 150, "temperature": 0.7,
            "logit_bias": { tag.to_string(): bias }, "stop": if bias == 0 { json!("e") } else { Value::Null },
        });
        let whole = chat(&server, more.clone());
        let choice = &whole["choices"][0];
        let stream = post(
            &server,
            "/v1/chat/completions",
            &asked({
                let mut more = more;
                more["stream"] = true.into();
                more
            }),
        );
        let (mut words, mut calls, mut reason) = (String::new(), Vec::<Value>::new(), Value::Null);
        for chunk in stream.chunks() {
            let piece = &chunk["choices"][0];
            words += piece["delta"]["content"].as_str().unwrap_or_default();
            for call in piece["delta"]["tool_calls"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let index = call["index"].as_u64().expect("an index") as usize;
                if index == calls.len() {
                    assert_eq!(call["function"]["arguments"], "");
                    calls.push(call.clone());
                } else {
                    let more = call["function"]["arguments"].as_str().expect("arguments");
                    let so_far = calls[index]["function"]["arguments"]
                        .as_str()
                        .expect("a text");
                    calls[index]["function"]["arguments"] = format!("{so_far}{more}").into();
                }
            }
            if !piece["finish_reason"].is_null() {
                reason = piece["finish_reason"].clone();
            }
        }
        assert_eq!(reason, choice["finish_reason"]);
        assert_eq!(
            words,
            choice["message"]["content"].as_str().unwrap_or_default()
        );
        let functions = |calls: &[Value]| -> Vec<Value> {
            calls.iter().map(|call| call["function"].clone()).collect()
        };
        let expected = choice["message"]["tool_calls"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert_eq!(functions(&calls), functions(&expected));
        if reason == "tool_calls" {
            calls.iter().for_each(|call| drop(check_call(call)));
            seen.0 = true;
        }
        seen.1 |= calls.is_empty();
    }
    assert!(seen.1, "words alone");
}

#[test]
fn the_newer_form_calls_functions_too() {
    let server = serve();
    let mut tool = look()["function"].clone();
    tool["type"] = "function".into();
    let body = json!({ "input": "who reads?", "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false, "seed": 1 });
    let whole = post(&server, "/v1/responses", &body).json();
    let item = &whole["output"][0];
    assert_eq!(
        (&item["type"], &item["name"]),
        (&json!("function_call"), &json!("look_up"))
    );
    assert!(is_described(&parsed(&item["arguments"])));
    assert_eq!(whole["status"], "completed");
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let stream = post(&server, "/v1/responses", &streamed);
    let events: Vec<Value> = stream
        .events()
        .iter()
        .map(|e| serde_json::from_str(e).expect("JSON"))
        .collect();
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|e| e["type"] == kind).collect() };
    let deltas = of("response.function_call_arguments.delta");
    let text: String = deltas.iter().filter_map(|e| e["delta"].as_str()).collect();
    assert_eq!(json!(text), item["arguments"]);
    assert_eq!(of("response.output_item.added").len(), 1);
    assert_eq!(
        events.last().expect("an end")["response"]["output"][0]["arguments"],
        item["arguments"]
    );
    // And back, with what the function gave.
    let talk = json!([
        { "role": "user", "content": "who?" }, item,
        { "type": "function_call_output", "call_id": item["call_id"], "output": "the king" },
    ]);
    let answer = post(
        &server,
        "/v1/responses",
        &json!({ "input": talk, "max_output_tokens": 3 }),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn held(ready: &ReadyModel, seed: u64, grammar: &Grammar, max_tokens: usize) -> GenerateRequest {
    let grammars = ready.grammars.as_ref().as_ref().expect("grammars");
    let constraint: Constraint = grammars.compile(grammar, false).expect("compiles");
    GenerateRequest {
        prompt: tokenizer().encode("the king of the old city"),
        params: SamplingParams {
            temperature: 1.3,
            seed,
            max_tokens,
            logprobs: Some(3),
            ..SamplingParams::default()
        },
        prompt_logprobs: None,
        constraint: Some(constraint),
        embed: false,
        tenant: "t".into(),
        cache_scope: format!("{seed}").into(),
    }
}

/// Every token with its log-probabilities, as text.
fn wait_for(mut ticket: Ticket) -> Result<Vec<String>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let mut got = Vec::new();
        while let Some(event) = ticket.next().await {
            match event {
                Event::Token {
                    token,
                    text,
                    logprobs,
                } => got.push(format!("{token} {text} {logprobs:?}")),
                Event::Failed(failure) => return Err(failure),
                _ => {}
            }
        }
        Ok(got)
    })
}

#[test]
fn a_held_reply_is_the_same_alone_and_among_others() {
    let grammars = [
        Grammar::JsonSchema {
            schema: schema(),
            strict: true,
        },
        Grammar::Regex("((the|old|rain|city) ?){4,9}!".into()),
        Grammar::Lark("start: \"a\" start \"b\" | \"c\"".into()),
    ];
    for weights in [WeightFormat::F32, WeightFormat::Int8] {
        let one = EngineSettings {
            slots: 1,
            ..EngineSettings::default()
        };
        let quiet = engine(service::model(), weights, one);
        let busy = engine(service::model(), weights, settings().engine);
        let requests = |ready: &ReadyModel| -> Vec<GenerateRequest> {
            (0..12)
                .map(|i| held(ready, i, &grammars[i as usize % 3], 60))
                .collect()
        };
        let alone: Vec<_> = requests(&quiet)
            .into_iter()
            .map(|request| wait_for(quiet.engine.submit(request)).expect("a reply"))
            .collect();
        let mut tickets = Vec::new();
        for request in requests(&busy) {
            tickets.push(busy.engine.submit(request.clone()));
            let mut free = request;
            free.constraint = None;
            tickets.push(busy.engine.submit(free));
        }
        for (ticket, expected) in tickets.into_iter().step_by(2).zip(alone) {
            assert_eq!(wait_for(ticket), Ok(expected), "{weights:?}");
        }
    }
}

#[test]
fn a_grammar_that_leads_nowhere_ends_its_own_reply_only() {
    let ready = engine(service::model(), WeightFormat::F32, settings().engine);
    // A lexeme of this size goes on for ever, but only the step's bound is reached, if anything is.
    let hard = Grammar::Regex("(.*a.{12}|.*b.{14}){3}c".into());
    let grammars = ready.grammars.as_ref().as_ref().expect("grammars");
    let other = held(&ready, 1, &Grammar::Regex("[a-z ]{30}".into()), 40);
    let other = ready.engine.submit(other);
    if grammars.compile(&hard, false).is_ok() {
        let ticket = ready.engine.submit(held(&ready, 2, &hard, 60));
        match wait_for(ticket) {
            Ok(tokens) => assert!(tokens.len() <= 60),
            Err(failure) => assert!(matches!(failure, Failure::Grammar(_)), "{failure}"),
        }
    }
    assert!(wait_for(other).is_ok());
}
