//! The documents, served with no outside host: `openapi.json`, Swagger UI and ReDoc.

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use bytes::Bytes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::App;

/// From the npm package `redoc` 2.5.4 (MIT, see `assets/redoc.LICENSE.txt`), compressed as it is sent.
static REDOC: &[u8] = include_bytes!("../../assets/redoc.standalone.js.gz");

const REDOC_PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>VocalBridge API</title>
<style>body { margin: 0 }</style>
</head>
<body>
<redoc spec-url="/openapi.json"></redoc>
<script src="/redoc/redoc.standalone.js"></script>
</body>
</html>
"#;

/// ReDoc would fetch its own logo from its maker's server; a browser that keeps to this policy asks nobody but us.
const ONLY_US: &str =
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; worker-src blob:";

pub(crate) fn router(document: Bytes) -> Router<App> {
    let swagger = SwaggerUi::new("/docs").config(Config::from("/openapi.json").validator_url("none"));
    Router::new()
        .route(
            "/openapi.json",
            get(|| async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
        )
        .route("/redoc", get(|| async { ([(header::CONTENT_SECURITY_POLICY, ONLY_US)], Html(REDOC_PAGE)) }))
        .route("/redoc/redoc.standalone.js", get(|| async { (SCRIPT_HEADERS, REDOC) }))
        .merge(swagger)
}

const SCRIPT_HEADERS: [(header::HeaderName, &str); 3] = [
    (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
    (header::CONTENT_ENCODING, "gzip"),
    (header::CACHE_CONTROL, "public, max-age=86400"),
];
