//! What every request passes and every answer carries.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;

use super::Failure;

/// What every answer tells a browser.
const STRICT: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Who may ask, and what answers say of themselves.
#[derive(Debug)]
pub struct Guard {
    /// The bearer token that requests must carry.
    pub token: Option<String>,
    /// Whether a path is open to those without it.
    pub open: fn(&str) -> bool,
    /// The content security policy.
    pub policy: &'static str,
}

/// Lets a request through that may pass, and adds the headers.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let open = (guard.open)(request.uri().path());
    let mut response = if guard.token.is_none() && is_misled(request.headers()) {
        Failure::misdirected().into_response()
    } else if open || is_allowed(guard.token.as_deref(), request.headers()) {
        next.run(request).await
    } else {
        Failure::unauthorized().into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in STRICT {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(guard.policy));
    response
}

/// Whether a browser was led here by a name that is not this host's own: a page of that name would else read, through it,
/// what no token guards (DNS rebinding).
fn is_misled(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_browser =
        headers.contains_key(header::ORIGIN) || text(header::USER_AGENT).is_some_and(|it| it.starts_with("Mozilla/"));
    is_browser && headers.get(header::HOST).is_some_and(|host| !host.to_str().is_ok_and(is_here))
}

/// Whether a `Host` can be this host's only: an address, or a name that no name server is asked for.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn is_allowed(token: Option<&str>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return true };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).and_then(bearer);
    given.is_some_and(|given| given.ct_eq(token.as_bytes()).into())
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_to_come_by_an_address_or_as_localhost() {
        let is_misled = |pairs: &[(HeaderName, &'static str)]| {
            is_misled(&pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect())
        };
        let browser = (header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64)");
        for host in ["127.0.0.1:9930", "127.0.0.1", "[::1]:9930", "localhost:80", "LOCALHOST", "varta.localhost:1"] {
            assert!(!is_misled(&[browser.clone(), (header::HOST, host)]), "{host}");
        }
        for host in ["evil.example:9930", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1.x]:9930"] {
            assert!(is_misled(&[browser.clone(), (header::HOST, host)]), "{host}");
            assert!(is_misled(&[(header::ORIGIN, "http://evil.example:9930"), (header::HOST, host)]), "{host}");
            assert!(!is_misled(&[(header::USER_AGENT, "curl/8"), (header::HOST, host)]), "{host}: no browser");
        }
        assert!(!is_misled(&[browser]), "no browser leaves it out");
    }
}
