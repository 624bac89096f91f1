//! What machines ask again and again: metrics, health, readiness.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, stream};

use varta_daemon::{http::Failure, metrics::CONTENT_TYPE};

use super::{App, answer::answer, aside::aside};
use crate::{
    command::SAMPLE_ROWS,
    export::{metrics as fixed, series::Series},
    sample::Samples,
};

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let permit = Arc::clone(&app.0.scrapes).acquire_owned().await;
    let permit = permit.map_err(|error| Failure::internal(error.to_string()))?;
    let parts = aside(&app.clone(), render(app)).await?;
    let parts: Vec<_> = parts.into_iter().map(|part| Ok::<_, std::convert::Infallible>(Bytes::from(part))).collect();
    // The text is the largest thing that is held here: the next scrape begins when this one is sent.
    let body = Body::from_stream(stream::iter(parts).inspect(move |_| _ = &permit));
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response())
}

/// The text, in parts none of which is empty.
async fn render(app: App) -> Result<Vec<Vec<u8>>, Failure> {
    let inner = &*app.0;
    let snapshot = answer(inner.handle.snapshot()).await?;
    let mut text = Vec::new();
    fixed::render(&snapshot, &inner.listeners, &inner.forward, &mut text)
        .map_err(|error| Failure::internal(error.to_string()))?;
    let mut series = Series::new(app.per_agent());
    let mut room = Samples::with_capacity(if series.wants_rows() { SAMPLE_ROWS as usize } else { 0 });
    let mut cursor = series.wants_rows().then_some(0);
    while let Some(at) = cursor {
        let page = answer(inner.handle.samples(at, series.wants_up(), room)).await?;
        room = page.samples;
        series.add(&room);
        cursor = page.next;
    }
    Ok(std::iter::once(text).chain(series.finish()).filter(|part| !part.is_empty()).collect())
}

/// Whether the ingest loop turns.
pub(super) async fn healthz(State(app): State<App>) -> Result<&'static str, Failure> {
    answer(app.0.handle.snapshot()).await?;
    Ok("ok\n")
}

/// Whether its verdicts can be relied upon.
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Failure> {
    let snapshot = answer(app.0.handle.snapshot()).await?;
    match snapshot.blindness {
        (_, false) => Ok("ready\n"),
        (Some(cause), true) => {
            Err(Failure::unavailable(format!("blind for longer than the limit; cause: {}", cause.name())))
        }
        (None, true) => Err(Failure::unavailable("was blind for longer than the limit, and has not seen since")),
    }
}
