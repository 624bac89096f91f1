//! Failures as the API tells them: `{"error":".."}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Why a request has no answer.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    words: String,
}

#[derive(Serialize)]
struct Told {
    error: String,
}

impl Failure {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    /// The request is wrong: 400.
    #[must_use]
    pub fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    /// It carries no token, or another: 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "this needs the header: Authorization: Bearer TOKEN, with the token of http.token_file",
        )
    }

    /// There is no such thing: 404.
    #[must_use]
    pub fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    /// The path takes other methods: 405.
    #[must_use]
    pub fn method(words: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, words)
    }

    /// A browser was led here by another name: 421.
    #[must_use]
    pub fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "a browser is to open this by an address or as localhost, so that no other page can read it through a name of \
             its own; for another name set http.token_file",
        )
    }

    /// Not now: 503.
    #[must_use]
    pub fn unavailable(words: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    /// A defect of ours: 500.
    #[must_use]
    pub fn internal(words: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Told { error: self.words })).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
