//! What a Prometheus asks for.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use varta_daemon::{http::Failure, metrics::CONTENT_TYPE};

use super::App;
use crate::{
    fleet::{Filter, UnitView},
    metrics::{Fixed, Series},
};

/// Places that one step looks at.
const STEP: u32 = 2000;

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let turn = app.0.long_answers.acquire().await;
    let _turn = turn.map_err(|error| Failure::internal(error.to_string()))?;
    let store = app.0.store.as_ref().map(crate::store::Store::failures);
    let fixed = app
        .0
        .desk
        .look(|fleet, now| Fixed::read(fleet, now, &app.0.refusals, app.0.live.followers(), store, &app.0.hooks));
    let mut text = fixed.render().map_err(|error| Failure::internal(error.to_string()))?;
    let mut series = Series::new(app.per_agent());
    let mut cursor = series.wants_units().then_some(0);
    while let Some(at) = cursor {
        cursor = app.0.desk.look(|fleet, now| {
            fleet.units(at, STEP, &Filter::default(), |unit: UnitView<'_>| {
                series.add(now, &unit);
                true
            })
        });
        tokio::task::yield_now().await;
    }
    series.finish(&mut text);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
