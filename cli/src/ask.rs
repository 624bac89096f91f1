//! Asking an observer or a relay over HTTP: what the verbs that do so have in common.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use ureq::{Body, http::Response};
use varta_client::keyfile::read_secret_file;

/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most rows of one answer.
const PAGE: usize = 1000;
/// The longest line of an event stream, bytes.
const LINE_MAX: usize = 1 << 20;

/// Who is asked.
#[derive(Args)]
pub(crate) struct Whom {
    /// The observer or the relay.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9910")]
    url: String,
    /// A file (mode 0600) with the bearer token that it asks for.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(crate) struct Source {
    agent: ureq::Agent,
    url: String,
    bearer: Option<String>,
    /// For how long a whole answer is waited for.
    limit: Option<Duration>,
}

/// An answer that says no.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {problem}")]
struct Refused {
    url: String,
    status: u16,
    problem: String,
}

impl Source {
    pub(crate) fn open(whom: &Whom) -> anyhow::Result<Self> {
        let bearer = match &whom.token_file {
            Some(file) => Some(format!("Bearer {}", read_secret_file(file)?.trim())),
            None => None,
        };
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_connect(Some(PATIENCE)).build();
        Ok(Self { agent: config.into(), url: whom.url.trim_end_matches('/').to_owned(), bearer, limit: None })
    }

    /// The same, for whoever asks again and again: nothing is waited for longer than some seconds, to its end.
    pub(crate) fn hurried(self) -> anyhow::Result<Self> {
        let address: Option<ureq::http::Uri> = self.url.parse().ok();
        if !address.is_some_and(|address| address.scheme_str() == Some("http") && address.host().is_some()) {
            bail!("--url {}: write http://HOST:PORT", self.url);
        }
        Ok(Self { limit: Some(PATIENCE), ..self })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks for a path, with more headers; an answer has to begin within some seconds.
    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, String)],
    ) -> anyhow::Result<Response<Body>> {
        let url = format!("{}{path}", self.url);
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        let bearer = self.bearer.iter().map(|bearer| ("authorization", bearer));
        for (name, value) in bearer.chain(headers.iter().map(|(name, value)| (*name, value))) {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body.map(ToString::to_string).unwrap_or_default());
        let request = request.with_context(|| format!("{url} is no address"))?;
        let request = self.agent.configure_request(request).timeout_recv_response(Some(PATIENCE));
        let request = request.timeout_global(self.limit).build();
        let mut answer = self
            .agent
            .run(request)
            .with_context(|| format!("{url} does not answer as an observer or a relay would"))?;
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let told = serde_json::from_str(&text).ok().and_then(|body: Value| Some(body["error"].as_str()?.to_owned()));
        let problem = told.unwrap_or_else(|| format!("it answers with status {status}"));
        Err(Refused { url, status, problem }.into())
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut answer = self.request(method, path, body, &[])?;
        let text = answer.body_mut().with_config().limit(1 << 26).read_to_string();
        let text = text.with_context(|| format!("{}{path}: the answer broke off", self.url))?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{}{path}: the answer is not JSON", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send("GET", path, None)
    }

    /// What a path says; nothing where there is no such path.
    pub(crate) fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path) {
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 404) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Every row of `list` under a path that has a query, `limit` at most.
    pub(crate) fn rows(&self, path: &str, list: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        Ok(self.some_rows(path, list, limit, usize::MAX)?.0)
    }

    /// Rows of `list` under a path that has a query, of `pages` at most; whether there may be more.
    pub(crate) fn some_rows(
        &self,
        path: &str,
        list: &str,
        limit: usize,
        pages: usize,
    ) -> anyhow::Result<(Vec<Value>, bool)> {
        let mut found = Vec::new();
        let mut cursor = Some(String::new());
        for _ in 0..pages {
            let Some(at) = cursor.take_if(|_| found.len() < limit) else { break };
            let room = (limit - found.len()).min(PAGE);
            let mut page = self.get(&format!("{path}&limit={room}{at}"))?;
            if let Value::Array(rows) = page[list].take() {
                found.extend(rows);
            }
            cursor = match &page["next"] {
                Value::Null => None,
                Value::String(next) => Some(format!("&cursor={}", escape(next))),
                next => Some(format!("&cursor={next}")),
            };
        }
        let more = cursor.is_some() || found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// Follows events from the one after `seen`. `each` is called with nothing when there is an answer, then with the kind, the
    /// id and the text of each event. Ends where the stream does, or with the error of `each`.
    pub(crate) fn follow(
        &self,
        path: &str,
        seen: Option<&str>,
        mut each: impl FnMut(Option<(&str, &str, &str)>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let seen: Vec<_> = seen.map(|id| ("last-event-id", id.to_owned())).into_iter().collect();
        let answer = self.request("GET", path, None, &seen)?;
        each(None)?;
        let mut reader = BufReader::new(answer.into_body().into_reader());
        let (mut kind, mut id, mut data, mut line) = (String::new(), String::new(), String::new(), String::new());
        loop {
            line.clear();
            let read = std::io::Read::take(&mut reader, LINE_MAX as u64).read_line(&mut line);
            match read {
                Ok(0) => return Ok(()),
                Ok(len) if len == LINE_MAX => bail!("{}{path}: a line is longer than {LINE_MAX} bytes", self.url),
                Ok(_) => {}
                Err(error) => return Err(error).with_context(|| format!("{}{path}: the stream broke off", self.url)),
            }
            match line.trim_end_matches(['\r', '\n']) {
                "" if !data.is_empty() => {
                    each(Some((&kind, &id, &data)))?;
                    data.clear();
                }
                text => match text.split_once(':') {
                    Some(("event", value)) => value.trim_start().clone_into(&mut kind),
                    Some(("id", value)) => value.trim_start().clone_into(&mut id),
                    Some(("data", value)) => data.push_str(value.trim_start()),
                    _ => {}
                },
            }
        }
    }
}

/// A text within a path: what may not stand there is written with a percent sign.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// What people may see of a text that somebody else wrote: no control characters, which could move a terminal's cursor.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_stand_in_a_path_is_escaped() {
        assert_eq!(escape("pid:42"), "pid:42");
        assert_eq!(escape("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
    }

    #[test]
    fn no_terminal_is_moved() {
        assert_eq!(plain(&Value::from("a\u{1b}[2Jb\n")), "a\u{fffd}[2Jb\u{fffd}");
    }
}
