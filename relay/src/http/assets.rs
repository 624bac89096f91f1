//! The dashboard's files, in the binary.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use varta_daemon::http::Failure;
use varta_vlp::crc::crc32c;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $kind:literal,)+) => {
        &[$(Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("../../assets/", $name)) },)+]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "events.js": "text/javascript; charset=utf-8",
    "fleet.js": "text/javascript; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
    "incidents.js": "text/javascript; charset=utf-8",
    "model.js": "text/javascript; charset=utf-8",
    "observers.js": "text/javascript; charset=utf-8",
    "unit.js": "text/javascript; charset=utf-8",
    "up.svg": "image/svg+xml",
    "degraded.svg": "image/svg+xml",
    "critical.svg": "image/svg+xml",
    "stalled.svg": "image/svg+xml",
    "departed.svg": "image/svg+xml",
    "held.svg": "image/svg+xml",
    "missing.svg": "image/svg+xml",
    "unknown.svg": "image/svg+xml",
};

/// They change with the program only: a browser asks each time, and is told that it has them.
fn serve(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let tag = format!("\"{:08x}-{}\"", crc32c(asset.bytes), asset.bytes.len());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes());
    let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
    let cache = HeaderValue::from_static("no-cache");
    let common = [(header::ETAG, tag), (header::CACHE_CONTROL, cache)];
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind))], asset.bytes).into_response()
}

fn find(name: &str) -> Result<&'static Asset, Failure> {
    ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| Failure::not_found("there is nothing at this path"))
}

pub(super) async fn page(headers: HeaderMap) -> Result<Response, Failure> {
    Ok(serve(find("index.html")?, &headers))
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    Ok(serve(find(&name)?, &headers))
}
