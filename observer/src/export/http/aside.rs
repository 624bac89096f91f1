//! Answers that take long to make are made aside, so that nobody who follows events waits behind them.

use tokio::runtime::Handle;

use varta_daemon::http::Failure;

use super::App;

/// Makes an answer aside. What it has to wait for longest is waited for before: it keeps a place from others.
pub(super) async fn aside<T: Send + 'static>(
    app: &App,
    made: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = Handle::current();
    let made = app.0.aside.run(move || runtime.block_on(made));
    made.await.map_err(|error| Failure::internal(error.to_string()))?
}
