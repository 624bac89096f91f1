//! Answers of the ingest thread, waited for within a limit.

use std::time::Duration;

use varta_daemon::http::Failure;

use crate::command::Unanswered;

/// How long the ingest thread may take to answer one question.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        Self::unavailable(unanswered.to_string())
    }
}

/// The answer of the ingest thread, if it comes in time.
pub(super) async fn answer<T>(question: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_LIMIT, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::unavailable("the observer does not answer: its ingest loop is held up, or not started")),
    }
}
