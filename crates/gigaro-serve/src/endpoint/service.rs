//! What is asked of a server beside replies: which models it has, and to serve another checkpoint.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Body, RequestBuilder};

use super::error::Failure;
use super::{Endpoint, EndpointError, MAX_REPLY, PATH, Result, retry_after};

/// How long a server may take to read a checkpoint.
const READING: Duration = Duration::from_secs(600);

impl Endpoint {
    /// The models behind the address, in its order; at least one.
    ///
    /// # Errors
    /// If it does not tell.
    pub fn models(&self) -> Result<Vec<String>> {
        let url = format!("{}/models", self.root());
        let answer = self.with_key(self.agent.get(&url)).call();
        let answer = self.json(answer, &url)?;
        let list = answer["data"].as_array().map(Vec::as_slice);
        let ids = list.unwrap_or_default().iter();
        let ids: Vec<String> = ids
            .filter_map(|model| model["id"].as_str().map(str::to_owned))
            .collect();
        if ids.is_empty() {
            let why = "it lists no models".to_owned();
            let said = self.quoted(answer.to_string().as_bytes());
            return Err(EndpointError::Foreign { url, why, said });
        }
        Ok(ids)
    }

    /// The same address, where another model is asked for.
    #[must_use]
    pub fn with_model(mut self, model: &str) -> Endpoint {
        model.clone_into(&mut self.model);
        self
    }

    /// Has a `gigaro serve` put a checkpoint, a path on its own disk, in the place of its model. Returns the version that is served then.
    ///
    /// # Errors
    /// If it refuses, or is another server.
    pub fn swap(&self, checkpoint: &Path) -> Result<u64> {
        let root = self.root();
        let root = root.strip_suffix("/v1").unwrap_or(root);
        let url = format!("{root}/admin/models/{}/swap", self.model);
        let request = self.agent.post(&url).config();
        let request = request.timeout_global(Some(READING)).build();
        let request = self.with_key(request.header("Content-Type", "application/json"));
        let answer = request.send(json!({ "checkpoint": checkpoint }).to_string());
        let answer = self.json(answer, &url)?;
        answer["version"].as_u64().ok_or_else(|| {
            let why = "it tells no version".to_owned();
            let said = self.quoted(answer.to_string().as_bytes());
            EndpointError::Foreign { url, why, said }
        })
    }

    fn root(&self) -> &str {
        self.url.strip_suffix(PATH).unwrap_or(&self.url)
    }

    /// The JSON of a success.
    fn json(&self, answer: Result<Response<Body>, ureq::Error>, url: &str) -> Result<Value> {
        let read = || {
            let answer = answer.map_err(|e| self.no_reply(e))?;
            let mut response = self.successful(answer, url)?;
            let config = response.body_mut().with_config().limit(MAX_REPLY);
            let bytes = config.read_to_vec().map_err(|e| self.no_reply(e))?;
            serde_json::from_slice(&bytes).map_err(|e| {
                let why = format!("the reply is not JSON: {e}");
                let (url, said) = (url.to_owned(), self.quoted(&bytes));
                Failure::often(EndpointError::Foreign { url, why, said })
            })
        };
        read().map_err(|failure: Failure| failure.after(1))
    }

    pub(super) fn with_key<Any>(&self, request: RequestBuilder<Any>) -> RequestBuilder<Any> {
        match &self.key.secret {
            Some(secret) => request.header("Authorization", format!("Bearer {secret}")),
            None => request,
        }
    }

    /// The response, if its status says success.
    pub(super) fn successful(
        &self,
        mut response: Response<Body>,
        url: &str,
    ) -> Result<Response<Body>, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let pause = retry_after(&response);
        let status = response.status().as_u16();
        let config = response.body_mut().with_config().limit(MAX_REPLY);
        let bytes = config.read_to_vec().map_err(|e| self.no_reply(e))?;
        let said = self.quoted(&bytes);
        Err(Failure::of_status(url, status, said, &self.key, pause))
    }
}
