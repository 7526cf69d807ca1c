//! `GET /call`: a page that holds a call. Everything it needs comes from here; it asks no other host.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::routing::get;

use crate::App;

/// Scripts and styles of our own and nothing inline; requests and sockets to this host only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type File = ([(HeaderName, &'static str); 4], &'static str);

fn file(media_type: &'static str, text: &'static str) -> File {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text)
}

pub(crate) fn router() -> Router<App> {
    const HTML: &str = "text/html; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Router::new()
        .route("/call", get(|| async { file(HTML, include_str!("../../assets/call/index.html")) }))
        .route("/call/call.css", get(|| async { file(CSS, include_str!("../../assets/call/call.css")) }))
        .route("/call/call.js", get(|| async { file(SCRIPT, include_str!("../../assets/call/call.js")) }))
        .route(
            "/call/microphone.js",
            get(|| async { file(SCRIPT, include_str!("../../assets/call/microphone.js")) }),
        )
}
