//! Parsing requests into types, each failure as the right problem.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use bytes::Bytes;
use events::{Aggregate, Recorded, TenantId};
use serde::de::{DeserializeOwned, IgnoredAny};
use uuid::Uuid;

use crate::App;
use crate::idempotency::{Makes, Once, Sent};
use crate::problem::{Code, Problem};

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A JSON body.
pub(crate) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        check_is_json(request.headers())?;
        parsed(&received(request.into_body(), app.config.max_body_bytes).await?).map(Self)
    }
}

/// A POST: what it says, and all that tells it from another for its `Idempotency-Key`.
pub(crate) struct Posted<T> {
    pub body: T,
    pub headers: HeaderMap,
    uri: Uri,
    raw: Bytes,
}

impl<T> Posted<T> {
    /// The request's ids, time and secret: new ones, or those of the same request before.
    pub(crate) async fn claim(&self, app: &App, tenant_id: TenantId, makes: Makes) -> Result<Once, Problem> {
        Once::claim(app, self.sent(tenant_id), makes).await
    }

    /// What the same request made before, of which `aggregate` is the beginning; `None`: nothing.
    pub(crate) async fn made_before(
        &self,
        app: &App,
        tenant_id: TenantId,
        aggregate: impl Fn(Uuid) -> Aggregate,
    ) -> Result<Option<(Once, Recorded)>, Problem> {
        let Some(once) = Once::find(app, self.sent(tenant_id)).await? else { return Ok(None) };
        let first = app.nats.log.first(&aggregate(once.id())).await?;
        Ok(first.map(|first| (once, first)))
    }

    fn sent(&self, tenant_id: TenantId) -> Sent<'_> {
        let Self { headers, uri, raw, .. } = self;
        Sent { tenant_id, method: &Method::POST, uri, headers, body: raw }
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        check_is_json(request.headers())?;
        let (parts, body) = request.into_parts();
        let raw = received(body, app.config.max_body_bytes).await?;
        Ok(Self { body: parsed(&raw)?, headers: parts.headers, uri: parts.uri, raw })
    }
}

/// The body of a POST that may be left out, which is the same as an empty object.
pub(crate) struct OrEmpty<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Posted<OrEmpty<T>> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let raw = received(body, app.config.max_body_bytes).await?;
        let is_left_out = raw.trim_ascii().is_empty();
        if !is_left_out {
            check_is_json(&parts.headers)?;
        }
        let body = OrEmpty(parsed(if is_left_out { b"{}" } else { &raw })?);
        Ok(Self { body, headers: parts.headers, uri: parts.uri, raw })
    }
}

/// The body of a POST that takes nothing: left out, or an empty object.
pub(crate) struct Nothing;

impl FromRequest<App> for Posted<Nothing> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let raw = received(body, app.config.max_body_bytes).await?;
        if !raw.trim_ascii().is_empty() {
            check_is_json(&parts.headers)?;
            let body: serde_json::Map<String, serde_json::Value> = parsed(&raw)?;
            if let Some(field) = body.into_iter().next().map(|(field, _)| field) {
                return Err(Problem::unknown_field(field));
            }
        }
        Ok(Self { body: Nothing, headers: parts.headers, uri: parts.uri, raw })
    }
}

/// The `{id}` of the path. Whatever is not a hyphenated UUID names nothing, and is not found.
pub(crate) struct PathId<T>(pub T);

impl<T: From<Uuid>, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let id = params.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "id"));
        id.and_then(|(_, text)| id_of(text))
            .map(|id| Self(id.into()))
            .ok_or_else(|| Problem::new(Code::NotFound, "nothing has such an id"))
    }
}

/// The query string; parameters that we do not know are refused like unknown fields.
pub(crate) struct QueryOf<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(form_urlencoded::parse(
            query.as_bytes(),
        )))
        .map(Self)
        .map_err(|error| refused(error.path().to_string(), &error.inner().to_string()))
    }
}

/// A UUID in the one form that we write it in: 36 characters with hyphens.
pub(crate) fn id_of(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = sent.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if is_json {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType, "send Content-Type: application/json"))
    }
}

pub(crate) async fn received(body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, max_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => {
            Err(Problem::new(Code::PayloadTooLarge, format_args!("a body may have {max_bytes} bytes")))
        }
        Ok(Err(_)) => Err(Problem::new(Code::BadRequest, "the body broke off")),
        Err(_) => Err(Problem::new(Code::RequestTimeout, "the body did not arrive in time")),
    }
}

/// axum hides the limit error one level down.
fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.to_string().contains("length limit exceeded") {
            return true;
        }
        source = inner.source();
    }
    false
}

fn parsed<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Problem> {
    // serde would take an array for a struct's fields in their order.
    if raw.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice::<IgnoredAny>(raw).map_err(|error| malformed(&error))?;
        return Err(Problem::invalid_field("$", "must be an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            serde_json::error::Category::Data => refused(path, &without_place(&error)),
            _ => malformed(&error),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(
        Code::MalformedJson,
        format_args!("not JSON at line {}, column {}", error.line(), error.column()),
    )
}

/// serde's message without its ` at line 1 column 7`, which says nothing that the path does not say better.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// serde tells an unknown field from a wrong value only by its message.
fn refused(path: String, message: &str) -> Problem {
    if let Some(named) = message.strip_prefix("unknown field `")
        && let Some((field, _)) = named.split_once('`')
    {
        let inside = path == field || path.ends_with(&format!(".{field}")) || path == "." || path == "?";
        let whole = match path.as_str() {
            "." | "?" | "" => field.to_owned(),
            _ if inside => path,
            _ => format!("{path}.{field}"),
        };
        return Problem::unknown_field(whole);
    }
    if let Some(named) = message.strip_prefix("missing field `")
        && let Some((field, _)) = named.split_once('`')
    {
        let whole = if matches!(path.as_str(), "." | "?" | "") {
            field.to_owned()
        } else {
            format!("{path}.{field}")
        };
        return Problem::invalid_field(&whole, "is required");
    }
    Problem::invalid_field(if path == "." { "$" } else { &path }, message)
}

#[cfg(test)]
mod tests {
    use events::CorrelationId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(rename = "name")]
        _name: String,
        #[serde(default, rename = "lines")]
        _lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[serde(rename = "count")]
        _count: u32,
    }

    fn problem(body: &str) -> (Code, String) {
        let problem = parsed::<Order>(body.as_bytes()).unwrap_err();
        let json = serde_json::to_value(problem.body(&CorrelationId::new())).unwrap();
        (problem.code(), json["errors"][0]["field"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for body in ["", "{", "nonsense", "{\"name\": \"a\"} trailing", "{\"name\": \"\\ud800\"}"] {
            assert_eq!(problem(body).0, Code::MalformedJson, "{body}");
        }
        let too_deep = "[".repeat(1_000);
        assert_eq!(problem(&format!("{{\"name\": {too_deep}")).0, Code::ValidationFailed);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_malformed() {
        assert_eq!(parsed::<Order>(b"{\"name\": \"\xff\"}").unwrap_err().code(), Code::MalformedJson);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        assert_eq!(problem(r#"{"name": "a", "nmae": "b"}"#), (Code::UnknownField, "nmae".to_owned()));
        assert_eq!(
            problem(r#"{"name": "a", "lines": [{"count": 1, "cuont": 2}]}"#),
            (Code::UnknownField, "lines[0].cuont".to_owned())
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        assert_eq!(problem(r#"{"name": 1}"#), (Code::ValidationFailed, "name".to_owned()));
        assert_eq!(
            problem(r#"{"name": "a", "lines": [{"count": "x"}]}"#),
            (Code::ValidationFailed, "lines[0].count".to_owned())
        );
        for array in ["[]", r#" ["a"]"#] {
            assert_eq!(problem(array), (Code::ValidationFailed, "$".to_owned()), "{array}");
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(problem("{}"), (Code::ValidationFailed, "name".to_owned()));
        assert_eq!(
            problem(r#"{"name": "a", "lines": [{}]}"#),
            (Code::ValidationFailed, "lines[0].count".to_owned())
        );
    }

    #[test]
    fn only_a_hyphenated_uuid_is_an_id() {
        assert!(id_of("0193e2f4-5f1c-7c52-9d3f-0242ac120002").is_some());
        for wrong in [
            ".",
            "*",
            ">",
            "a b",
            "",
            "0193e2f45f1c7c529d3f0242ac120002",
            "{0193e2f4-5f1c-7c52-9d3f-0242ac1200}",
        ] {
            assert!(id_of(wrong).is_none(), "{wrong}");
        }
    }
}
