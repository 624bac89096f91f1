//! Answers that take long to make are made on threads of their own, so that nobody who follows events waits behind them.

use axum::{extract::Request, middleware::Next, response::Response};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::failure::Failure;

/// Lets the rest of the way be gone on another thread. There are no more of these than connections.
pub(super) async fn aside(request: Request, next: Next) -> Result<Response, Failure> {
    let runtime = Handle::current();
    let made = spawn_blocking(move || runtime.block_on(next.run(request)));
    made.await.map_err(|error| Failure::internal(error.to_string()))
}
