//! What every request passes and every answer carries.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;

use super::Failure;

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
    let mut response = if open || is_allowed(guard.token.as_deref(), request.headers()) {
        next.run(request).await
    } else {
        Failure::unauthorized().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(guard.policy));
    response
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
