//! Traces of requests for a collector of OpenTelemetry, by OTLP over HTTP. Behind the feature `otel`.
//!
//! A request is a span with up to three inside it: waiting in the queue, reading the prompt, writing the reply. They are made when the request
//! is over, out of what its record has kept, so that nothing on its way is slower for them. Where to send them is said by OpenTelemetry's own
//! variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. Like the log, they hold no text of users and no key.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Response};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::record::{Facts, Record};

/// OpenTelemetry's names for where to send traces.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
const SERVICE: &str = "gigaro";
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot send traces: {0}; check the variables that begin with OTEL_")]
pub struct OtelError(String);

/// Sends traces until it is dropped; then what is left.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is not there loses them, and nobody waits for it.
        let _ = self.0.shutdown();
    }
}

/// Begins to send traces to `endpoint`, or where OpenTelemetry's variables say; nothing if none says so.
///
/// # Errors
/// If the variables make no sense.
pub fn start(endpoint: Option<&str>) -> Result<Option<Traces>, OtelError> {
    let is_said = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if endpoint.is_none() && !ENDPOINTS.iter().any(is_said) {
        return Ok(None);
    }
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build();
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(agent.into()));
    if let Some(endpoint) = endpoint {
        exporter = exporter.with_endpoint(endpoint);
    }
    let exporter = exporter.build().map_err(|e| OtelError(e.to_string()))?;
    let mut resource = Resource::builder();
    if !is_said(&"OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(SERVICE);
    }
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    // Two servers in one process share the first one's.
    let provider = PROVIDER.get_or_init(|| provider).clone();
    Ok(Some(Traces(provider)))
}

/// Makes the spans of a request that is over.
pub(crate) fn export(record: &Record, facts: &Facts) {
    let Some(provider) = PROVIDER.get() else {
        return;
    };
    let tracer = provider.tracer(SERVICE);
    let carrier: HashMap<String, String> = record
        .parent
        .iter()
        .map(|parent| ("traceparent".to_owned(), parent.clone()))
        .collect();
    let outer = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let mut span = SpanBuilder::from_name(format!("{} {}", record.method, record.route))
        .with_kind(SpanKind::Server)
        .with_start_time(record.began_at)
        .with_attributes(attributes(record, facts))
        .start_with_context(&tracer, &outer);
    if facts.status >= 500 {
        span.set_status(Status::error(""));
    }
    let inside = Context::new().with_remote_span_context(span.span_context().clone());
    part(
        &tracer,
        &inside,
        record,
        "queue",
        facts.submitted,
        facts.admitted,
    );
    part(
        &tracer,
        &inside,
        record,
        "prefill",
        facts.admitted,
        facts.first_token,
    );
    part(
        &tracer,
        &inside,
        record,
        "decode",
        facts.first_token,
        facts.last_token,
    );
    span.end();
}

fn part(
    tracer: &SdkTracer,
    inside: &Context,
    record: &Record,
    name: &'static str,
    from: Option<Instant>,
    to: Option<Instant>,
) {
    let (Some(from), Some(to)) = (from, to) else {
        return;
    };
    let at = |moment: Instant| record.began_at + moment.saturating_duration_since(record.began);
    let mut span = SpanBuilder::from_name(name)
        .with_start_time(at(from))
        .start_with_context(tracer, inside);
    span.end_with_timestamp(at(to));
}

/// By OpenTelemetry's names, where it has one.
fn attributes(record: &Record, facts: &Facts) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new("http.request.method", record.method.clone()),
        KeyValue::new("http.route", record.route.clone()),
        KeyValue::new("http.response.status_code", i64::from(facts.status)),
        KeyValue::new("gigaro.request_id", record.id.clone()),
    ];
    if let Some(key) = &facts.key {
        list.push(KeyValue::new("gigaro.key", key.clone()));
    }
    if let Some(model) = &facts.model {
        let count = |name, tokens: usize| KeyValue::new(name, tokens as i64);
        list.push(KeyValue::new("gen_ai.request.model", model.clone()));
        list.push(count(
            "gen_ai.usage.input_tokens",
            facts.usage.prompt_tokens,
        ));
        list.push(count(
            "gen_ai.usage.output_tokens",
            facts.usage.completion_tokens,
        ));
    }
    list
}

/// Carries what is exported, on the exporter's own thread, where waiting delays nobody.
#[derive(Debug)]
struct Client(ureq::Agent);

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let mut response = self.0.run(request.map(Vec::from))?;
            let body = response.body_mut().read_to_vec()?;
            let (head, _) = response.into_parts();
            Ok(Response::from_parts(head, body.into()))
        })
    }
}
