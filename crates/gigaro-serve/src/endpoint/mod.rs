//! Somebody else's language model, asked over HTTP by OpenAI's chat completions, which most servers of models speak.
//!
//! A question is one blocking request. What may pass by itself (a server that starts, a limit of requests per minute, a lost
//! connection) is tried again with growing pauses; what will not is told at once. Not here: what is asked and how the reply
//! is understood, which is up to the caller; tools. A reply as it is written is in `stream.rs`, what else a server is asked in
//! `service.rs`, what can go wrong in `error.rs`.

mod error;
mod service;
mod stream;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use gigaro_data::chat::Message;
use serde_json::{Map, Value, json};
use ureq::http::{Response, Uri};
use ureq::{Agent, Proxy};

pub use self::error::{EndpointError, Result};
use self::error::{Failure, Retry, quoted};
pub use self::stream::Heard;

/// What OpenAI's API has behind its address.
const PATH: &str = "/chat/completions";
/// Most bytes of a reply that are read: many times what [`MAX_TOKENS`] can be.
const MAX_REPLY: u64 = 4 << 20;
/// Most tokens of a reply, with room for a model that thinks before it speaks.
const MAX_TOKENS: u32 = 1024;

/// What an endpoint wants to see before it answers.
#[derive(Clone)]
pub struct Key {
    /// Where it comes from, such as the name of an environment variable; for messages.
    pub from: String,
    /// The key; many servers of one's own need none.
    pub secret: Option<String>,
}

impl fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("from", &self.from)
            .field("given", &self.secret.is_some())
            .finish()
    }
}

/// How long to wait for what, and how often to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one request from its beginning to the last byte of the reply.
    pub timeout: Duration,
    /// Requests in all, where the trouble may pass; one that ran out of time is repeated once only.
    pub attempts: u32,
    /// Before the second attempt; doubled before each further one, unless the server says how long.
    pub pause: Duration,
}

impl Default for Patience {
    /// Two minutes for a request, five attempts, pauses of 1, 2, 4 and 8 seconds.
    fn default() -> Patience {
        Patience {
            timeout: Duration::from_secs(120),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// A model behind an address.
#[derive(Clone, Debug)]
pub struct Endpoint {
    agent: Agent,
    url: String,
    model: String,
    key: Key,
    patience: Patience,
    /// Settings that are good to have, as far as this endpoint takes them.
    settings: Map<String, Value>,
}

impl Endpoint {
    /// The model of that name behind `address`, such as `https://api.openai.com/v1` or `http://127.0.0.1:8080/v1`; asks nothing yet.
    ///
    /// # Errors
    /// If the address is none, or the key cannot be part of a request.
    pub fn new(address: &str, model: &str, key: Key, patience: Patience) -> Result<Endpoint> {
        let url = full_url(address)?;
        let speakable = |secret: &String| secret.bytes().all(|b| b.is_ascii_graphic());
        if !key.secret.as_ref().is_none_or(speakable) {
            return Err(EndpointError::Key { from: key.from });
        }
        // What is on this machine is no matter of a proxy, which would look for it on its own.
        let proxy = match url.parse::<Uri>() {
            Ok(uri) if is_local(&uri) => None,
            _ => Proxy::try_from_env(),
        };
        let config = Agent::config_builder()
            .proxy(proxy)
            .timeout_global(Some(patience.timeout))
            .http_status_as_error(false)
            // Elsewhere is not where the user said that texts and key may go.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("gigaro/", env!("CARGO_PKG_VERSION")))
            .build();
        let mut settings = Map::new();
        settings.insert("temperature".into(), json!(0));
        settings.insert("max_tokens".into(), json!(MAX_TOKENS));
        Ok(Endpoint {
            agent: config.into(),
            url,
            model: model.to_owned(),
            key,
            patience,
            settings,
        })
    }

    /// The model and where it is, for reports; no key.
    pub fn name(&self) -> String {
        format!("{} at {}", self.model, self.url.trim_end_matches(PATH))
    }

    /// What the model says next in this conversation; nothing if it chose to say nothing.
    ///
    /// # Errors
    /// If no answer came after all attempts, or one came that no attempt would change.
    pub fn ask(&mut self, messages: &[Message]) -> Result<String> {
        let (mut tried, mut slow) = (0, 0);
        loop {
            let failure = match self.attempt(messages) {
                Ok(text) => return Ok(text),
                Err(failure) => failure,
            };
            if self.can_do_without(&failure) {
                continue;
            }
            tried += 1;
            slow += u32::from(failure.retry == Retry::Once);
            let (most, pause) = match failure.retry {
                Retry::Never => (tried, None),
                Retry::Once if slow > 1 => (tried, None),
                Retry::Once => (self.patience.attempts, None),
                Retry::Often(pause) => (self.patience.attempts, pause),
            };
            if tried >= most {
                return Err(failure.after(tried));
            }
            let doubled = self.patience.pause * 2_u32.saturating_pow(tried - 1);
            std::thread::sleep(pause.unwrap_or(doubled));
        }
    }

    /// One request.
    fn attempt(&self, messages: &[Message]) -> Result<String, Failure> {
        let mut body = json!({ "model": self.model, "messages": messages });
        if let Value::Object(body) = &mut body {
            body.extend(self.settings.clone());
        }
        let request = self.agent.post(&self.url);
        let request = request.header("Content-Type", "application/json");
        let sent = self.with_key(request).send(body.to_string());
        let mut response = sent.map_err(|e| self.no_reply(e))?;
        let config = response.body_mut().with_config().limit(MAX_REPLY);
        let bytes = config.read_to_vec().map_err(|e| self.no_reply(e))?;
        if response.status().is_success() {
            return words(&bytes).map_err(|why| {
                let (url, said) = (self.url.clone(), self.quoted(&bytes));
                let error = EndpointError::Foreign { url, why, said };
                Failure::often(error)
            });
        }
        let status = response.status().as_u16();
        let failure = Failure::of_status(
            &self.url,
            status,
            self.quoted(&bytes),
            &self.key,
            retry_after(&response),
        );
        Err(Failure {
            setting: self.refused_setting(status, &bytes),
            ..failure
        })
    }

    /// What to make of a request that brought no whole reply.
    fn no_reply(&self, error: ureq::Error) -> Failure {
        let url = self.url.clone();
        match error {
            ureq::Error::Timeout(_) => {
                let seconds = self.patience.timeout.as_secs_f64();
                Failure::new(EndpointError::Slow { url, seconds }, Retry::Once)
            }
            ureq::Error::BodyExceedsLimit(_) => {
                let why = format!("the reply is longer than {MAX_REPLY} bytes");
                let said = String::new();
                Failure::often(EndpointError::Foreign { url, why, said })
            }
            error @ (ureq::Error::HostNotFound
            | ureq::Error::BadUri(_)
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)) => {
                let why = error.to_string();
                Failure::new(EndpointError::Unreachable { url, why }, Retry::Never)
            }
            other => {
                let why = other.to_string();
                Failure::often(EndpointError::Unreachable { url, why })
            }
        }
    }

    /// Whether the endpoint refused one of the settings, which is then left out; each of them once.
    fn can_do_without(&mut self, failure: &Failure) -> bool {
        let name = failure.setting.as_ref();
        name.is_some_and(|name| self.settings.remove(name).is_some())
    }

    /// The setting that a refusal names, in whatever part of its words.
    fn refused_setting(&self, status: u16, bytes: &[u8]) -> Option<String> {
        let said = matches!(status, 400 | 422).then(|| String::from_utf8_lossy(bytes))?;
        self.settings
            .keys()
            .find(|name| said.contains(*name))
            .cloned()
    }

    /// The endpoint's own words, without the key that it may have repeated.
    fn quoted(&self, bytes: &[u8]) -> String {
        quoted(bytes, self.key.secret.as_deref())
    }
}

/// Whether texts sent to this address cannot be read on their way: they are encrypted, or do not leave the machine.
pub fn is_private(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else {
        return false;
    };
    uri.scheme_str() == Some("https") || is_local(&uri)
}

/// Whether it is this very machine.
fn is_local(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let loopback = |address: Ipv4Addr| address.is_loopback();
    host.parse().is_ok_and(loopback) || ["localhost", "[::1]"].contains(&host)
}

/// The address of the chat completions under that of the API.
fn full_url(address: &str) -> Result<String> {
    // The address goes into messages and reports, where a password must not.
    let shown = match address_user(address) {
        "" => address.to_owned(),
        user => address.replace(user, "..@"),
    };
    let refuse = |why: &str| EndpointError::Address {
        address: shown.clone(),
        why: why.to_owned(),
    };
    let uri: Uri = address
        .parse()
        .map_err(|e: ureq::http::uri::InvalidUri| refuse(&e.to_string()))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(refuse("it does not begin with http:// or https://"));
    }
    if uri.query().is_some() || address.contains('#') {
        return Err(refuse("it goes on after its path"));
    }
    // Also behind a slash, which a password may hold.
    if address.contains('@') {
        return Err(refuse(
            "it holds a name or a password; a key goes into the environment",
        ));
    }
    let address = address.trim_end_matches('/');
    Ok(match address.strip_suffix(PATH) {
        Some(_) => address.to_owned(),
        None => format!("{address}{PATH}"),
    })
}

/// `name:password@` in an address.
fn address_user(address: &str) -> &str {
    let begin = address.find("://").map_or(0, |at| at + 3);
    let end = address.rfind('@').map_or(begin, |at| at + 1);
    address.get(begin..end).unwrap_or_default()
}

/// The message in a reply.
fn words(bytes: &[u8]) -> Result<String, String> {
    let reply: Value =
        serde_json::from_slice(bytes).map_err(|e| format!("the reply is not JSON: {e}"))?;
    let message = &reply["choices"][0]["message"];
    match (&message["content"], message.is_object()) {
        (Value::String(text), _) => Ok(text.clone()),
        // What a model that refuses, or that only thought, leaves there.
        (Value::Null, true) => Ok(String::new()),
        _ => Err("the reply holds no choices[0].message.content".into()),
    }
}

/// Reads a reply; for [`crate::hostile`].
pub(crate) fn read_reply(bytes: &[u8]) {
    if let Err(sentence) = words(bytes) {
        assert!(!sentence.is_empty());
    }
}

/// Reads an address; for [`crate::hostile`].
pub(crate) fn read_address(text: &str) {
    if let Ok(url) = full_url(text) {
        assert!(url.ends_with(PATH), "{url}");
        assert!(!url.contains('@'), "a password in {url}");
    }
}

/// How long the server wants to be left alone, if it says so in seconds; a minute at most.
fn retry_after<T>(response: &Response<T>) -> Option<Duration> {
    let said = response.headers().get("retry-after")?.to_str().ok()?;
    let seconds: u64 = said.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, secret: &str) -> Result<Endpoint> {
        let key = Key {
            from: "SOME_KEY".into(),
            secret: Some(secret.into()),
        };
        Endpoint::new(address, "m", key, Patience::default())
    }

    #[test]
    fn an_address_leads_to_the_chat_completions() {
        let check = |address: &str, expected: &str| {
            let found = endpoint(address, "k").expect(address);
            assert_eq!(found.url, expected);
        };
        check(
            "http://[::1]:8080/v1/",
            "http://[::1]:8080/v1/chat/completions",
        );
        check("https://a.b", "https://a.b/chat/completions");
        check(
            "https://a.b/v1/chat/completions",
            "https://a.b/v1/chat/completions",
        );
        let named = endpoint("https://a.b/v1", "k").expect("an address");
        assert_eq!(named.name(), "m at https://a.b/v1");
    }

    #[test]
    fn what_is_no_address_is_told_and_no_password_is_repeated() {
        for (address, expected) in [
            ("api.openai.com", "does not begin with http"),
            ("ftp://a/b", "does not begin with http"),
            ("http://", "no address of a model"),
            ("https://a b", "no address of a model"),
            ("https://a/v1?key=1", "goes on after its path"),
            ("https://me:hush@a/v1", "holds a name or a password"),
            ("https://me:hush b@a/v1", "no address of a model"),
            ("https://me:hu/hush@a/v1", "holds a name or a password"),
            ("https://me:hush#b@a/v1", "goes on after its path"),
        ] {
            let error = endpoint(address, "k").expect_err(address).to_string();
            assert!(error.contains(expected), "{address}: {error}");
            assert!(error.contains("http://127.0.0.1:8080/v1"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_told_without_repeating_it() {
        let error = endpoint("https://a/v1", "sk-1\n").expect_err("a line break");
        let error = error.to_string();
        assert!(
            error.contains("SOME_KEY") && !error.contains("sk-1"),
            "{error}"
        );
        let shown = format!("{:?}", endpoint("https://a/v1", "sk-1").expect("a key"));
        assert!(!shown.contains("sk-1"), "{shown}");
    }

    #[test]
    fn only_encrypted_and_local_addresses_are_private() {
        for private in [
            "https://a/v1",
            "http://127.0.0.2:1",
            "http://localhost:1",
            "http://[::1]:1/v1",
        ] {
            assert!(is_private(private), "{private}");
        }
        for open in [
            "http://a/v1",
            "http://localhost.evil.org",
            "http://10.0.0.1",
            "nonsense",
        ] {
            assert!(!is_private(open), "{open}");
        }
    }

    #[test]
    fn silence_is_an_answer_and_a_foreign_shape_is_none() {
        let of = |text: &str| words(text.as_bytes());
        let reply = r#"{"choices": [{"message": {"content": "A"}}]}"#;
        assert_eq!(of(reply).as_deref(), Ok("A"));
        let silent = r#"{"choices": [{"message": {"content": null, "refusal": "no"}}]}"#;
        assert_eq!(of(silent).as_deref(), Ok(""));
        for foreign in [
            "",
            "<html>",
            "[]",
            "7",
            r#"{"choices": []}"#,
            r#"{"choices": [{"message": {"content": 3}}]}"#,
        ] {
            assert!(of(foreign).is_err(), "{foreign}");
        }
    }
}
