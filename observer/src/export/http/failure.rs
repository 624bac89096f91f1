//! Failures as the API tells them: `{"error":".."}`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::command::Unanswered;

/// How long the ingest thread may take to answer one question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Why a request has no answer.
#[derive(Debug)]
pub(super) struct Failure {
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

    pub(super) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "this needs the header: Authorization: Bearer TOKEN, with the observer's token",
        )
    }

    pub(super) fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this path answers GET and HEAD only")
    }

    pub(super) fn unavailable(words: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    pub(super) fn internal(words: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        Self::unavailable(unanswered.to_string())
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

/// The answer of the ingest thread, if it comes in time.
pub(super) async fn answer<T>(question: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_LIMIT, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::unavailable("the observer does not answer: its ingest loop is held up, or not started")),
    }
}
