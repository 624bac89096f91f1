//! One try: a POST, within limits.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};
use varta_config::WebhookKind;

/// Where an Alertmanager takes alerts.
const ALERTS: &str = "/api/v2/alerts";

/// What came of a try.
#[derive(Debug)]
pub(super) enum Answer {
    Taken,
    /// It will not be taken, however often it is tried.
    Refused(String),
    Later(String),
}

pub(super) struct Post {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Post {
    pub(super) fn new(url: &str, kind: WebhookKind, token: Option<String>, timeout: Duration) -> Self {
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(16 << 10)
            .user_agent(concat!("varta-relay/", env!("CARGO_PKG_VERSION")));
        if url.starts_with("https:") {
            config = config.tls_config(tls());
        }
        let url = match kind {
            WebhookKind::Alertmanager if !url.ends_with(ALERTS) => format!("{}{ALERTS}", url.trim_end_matches('/')),
            _ => url.to_owned(),
        };
        Self { agent: config.build().into(), url, token }
    }

    /// Sends a JSON text.
    pub(super) fn send(&self, text: &str) -> Answer {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        match request.send(text) {
            Ok(answer) => match answer.status().as_u16() {
                200..=299 => Answer::Taken,
                status @ (408 | 425 | 429 | 500..=599) => Answer::Later(format!("it answers {status}")),
                status @ 300..=399 => {
                    Answer::Refused(format!("it answers {status}: where it points to is not followed"))
                }
                status => Answer::Refused(format!("it answers {status}")),
            },
            Err(error) => Answer::Later(error.to_string()),
        }
    }
}

/// Whom the host's own store of certificates vouches for.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::warn!(
            "this host has no store of certificates (on Debian: ca-certificates): no https:// webhook can be trusted"
        );
    }
    let certificates = found.certs.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread::JoinHandle,
    };

    use super::*;

    /// A server that answers one request with `answer`, and gives what it was sent.
    fn server(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let turn = move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut said, mut room) = (Vec::new(), [0; 4096]);
            while !said.ends_with(b"{}") {
                match stream.read(&mut room).unwrap() {
                    0 => break,
                    read => said.extend_from_slice(&room[..read]),
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(said).unwrap()
        };
        (url, std::thread::spawn(turn))
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn answers_are_told_apart() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Taken"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "Taken"),
            ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "Refused"),
            ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "Refused"),
            ("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", "Later"),
            ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "Later"),
            ("garbage", "Later"),
        ];
        for (answer, expected) in cases {
            let (url, thread) = server(answer);
            let token = Some("a-token-of-some-length".to_owned());
            let found = Post::new(&url, WebhookKind::Json, token, PATIENCE).send("{}");
            assert!(format!("{found:?}").starts_with(expected), "{answer}: {found:?}");
            let said = thread.join().unwrap().to_lowercase();
            assert!(said.starts_with("post /hook http/1.1\r\n") && said.ends_with("{}"), "{said}");
            assert!(said.contains("authorization: bearer a-token-of-some-length"), "{said}");
        }
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let found = Post::new(&url, WebhookKind::Json, None, Duration::from_millis(200)).send("{}");
        assert!(matches!(found, Answer::Later(_)), "{found:?}");
        let found = Post::new("http://127.0.0.1:1/", WebhookKind::Json, None, PATIENCE).send("{}");
        assert!(matches!(found, Answer::Later(_)), "{found:?}");
    }

    #[test]
    fn an_alertmanager_is_asked_where_it_takes_alerts() {
        let url = |given| Post::new(given, WebhookKind::Alertmanager, None, PATIENCE).url;
        assert_eq!(url("http://am:9093"), "http://am:9093/api/v2/alerts");
        assert_eq!(url("http://am:9093/prefix/"), "http://am:9093/prefix/api/v2/alerts");
        assert_eq!(url("http://am:9093/api/v2/alerts"), "http://am:9093/api/v2/alerts");
    }
}
