//! One request to a function, and what its failure means for the next.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{StatusCode, Url};
use serde_json::{Map, Value};

use super::{FunctionCall, Functions, MAX_ANSWER_BYTES, Method, OUR_NAME};
use crate::http::{Body, ErrorCode, VendorError, guard, parse_retry_after};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Of an error's body that a model is told; its whole may hold anything.
const EXCERPT_CHARS: usize = 200;

/// Why a request brought no result.
pub(super) struct Failed {
    pub(super) status: Option<u16>,
    /// For the model.
    pub(super) told: String,
    /// The other side's wish.
    pub(super) retry_after: Option<Duration>,
    again: Again,
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It would fail again.
    Never,
    /// It may have been carried out.
    IfIdempotent,
    /// It was not carried out.
    Always,
}

impl Failed {
    fn new(status: Option<u16>, told: impl Into<String>, again: Again) -> Self {
        Self { status, told: told.into(), retry_after: None, again }
    }

    pub(super) fn may_be_repeated(&self, method: Method) -> bool {
        match self.again {
            Again::Never => false,
            Again::IfIdempotent => method.is_idempotent(),
            Again::Always => true,
        }
    }
}

impl Functions {
    /// The status and the result.
    pub(super) async fn attempt(
        &self,
        call: &FunctionCall<'_>,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<(u16, Value), Failed> {
        let request = match call.method {
            Method::Get => self.client.get(with_query(url, call.arguments)),
            Method::Post => self.client.post(url.clone()).json(call.arguments),
            Method::Put => self.client.put(url.clone()).json(call.arguments),
            Method::Patch => self.client.patch(url.clone()).json(call.arguments),
        };
        let request = request
            .headers(headers)
            .header(ACCEPT, JSON)
            .header(USER_AGENT, OUR_NAME)
            .header(IDEMPOTENCY_KEY, call.idempotency_key)
            .header(CORRELATION_ID, call.correlation_id)
            .header(TRACEPARENT, call.traceparent);
        let response = request.send().await.map_err(|error| not_sent(&error))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, (self.wall_clock)()));
        let body = Body::new(response, MAX_ANSWER_BYTES);
        if !status.is_success() {
            let mut failed = refused(status, &body.drain().await);
            failed.retry_after = retry_after;
            return Err(failed);
        }
        let answer = body.whole(|| ()).await.map_err(|error| not_read(status, &error))?;
        Ok((status.as_u16(), result(&answer)))
    }
}

/// The arguments as query parameters, behind those that the URL has: text as it is, anything else as JSON, a list as
/// one parameter for each of its items.
fn with_query(url: &Url, arguments: &Map<String, Value>) -> Url {
    let mut url = url.clone();
    if arguments.is_empty() {
        return url;
    }
    let mut query = url.query_pairs_mut();
    for (name, value) in arguments {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            value => std::slice::from_ref(value),
        };
        for value in values {
            match value {
                Value::String(text) => query.append_pair(name, text),
                value => query.append_pair(name, &value.to_string()),
            };
        }
    }
    drop(query);
    url
}

/// JSON where it is JSON, nothing where there is nothing, else text.
fn result(answer: &[u8]) -> Value {
    if answer.trim_ascii().is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(answer)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(answer).into_owned()))
}

fn not_sent(error: &reqwest::Error) -> Failed {
    if guard::is_refused(error) {
        return Failed::new(
            None,
            "the function's URL leads to a private, local or reserved address",
            Again::Never,
        );
    }
    match VendorError::from_transport(error).code {
        ErrorCode::Connect => Failed::new(None, "the function could not be reached", Again::Always),
        ErrorCode::Misconfigured => {
            Failed::new(None, "the function's request could not be made", Again::Never)
        }
        _ => Failed::new(None, "the function's answer broke off", Again::IfIdempotent),
    }
}

fn not_read(status: StatusCode, error: &VendorError) -> Failed {
    let status = Some(status.as_u16());
    match error.code {
        ErrorCode::Garbage => {
            let told = format!("the function's answer is larger than {MAX_ANSWER_BYTES} bytes");
            Failed::new(status, told, Again::Never)
        }
        _ => Failed::new(status, "the function's answer broke off", Again::IfIdempotent),
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Failed {
    let number = status.as_u16();
    let again = match number {
        429 | 503 => Again::Always,
        408 | 425 | 500..=599 => Again::IfIdempotent,
        _ => Again::Never,
    };
    let told = match (status.is_redirection(), excerpt(body)) {
        (true, _) => format!("the function answered HTTP {number}: redirects are not followed"),
        (false, Some(excerpt)) => format!("the function answered HTTP {number}: {excerpt}"),
        (false, None) => format!("the function answered HTTP {number}"),
    };
    Failed::new(Some(number), told, again)
}

/// The beginning of a text in one line; `None` when there is none.
fn excerpt(body: &[u8]) -> Option<String> {
    // Four bytes are the most that a character has.
    let text = String::from_utf8_lossy(&body[..body.len().min(8 * EXCERPT_CHARS)]);
    let line = text.split(|character: char| character.is_whitespace() || character.is_control());
    let line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(EXCERPT_CHARS).collect();
    (!short.is_empty()).then(|| if short.len() < line.len() { format!("{short}…") } else { short })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_become_parameters_behind_those_of_the_url() {
        let url = Url::parse("https://example.com/a?key=1").unwrap();
        let arguments = json!({
            "text": "a&b=ü", "number": 1.5, "yes": true, "list": ["x", 2], "object": {"a": 1}, "none": null
        });
        let query = with_query(&url, arguments.as_object().unwrap());
        assert_eq!(
            query.as_str(),
            "https://example.com/a?key=1&list=x&list=2&number=1.5&object=%7B%22a%22%3A1%7D&text=a%26b%3D%C3%BC&yes=true"
        );
        assert_eq!(with_query(&url, &Map::new()), url);
    }

    #[test]
    fn an_answer_is_json_or_text_or_nothing() {
        for (answer, expected) in [
            ("{\"a\": [1]}", json!({"a": [1]})),
            ("7", json!(7)),
            ("sunny", json!("sunny")),
            ("{broken", json!("{broken")),
            ("", json!(null)),
            (" \r\n", json!(null)),
        ] {
            assert_eq!(result(answer.as_bytes()), expected, "{answer}");
        }
        assert_eq!(result(b"\xff"), json!("\u{fffd}"));
    }

    #[test]
    fn a_model_is_told_the_beginning_of_an_error_in_one_line() {
        assert_eq!(excerpt(b"no such\r\n\torder\0"), Some("no such order".to_owned()));
        assert_eq!(excerpt(b" \n"), None);
        let long = excerpt("ü".repeat(10_000).as_bytes()).unwrap();
        assert_eq!(long.chars().count(), EXCERPT_CHARS + 1);
    }

    #[test]
    fn only_what_cannot_have_been_done_is_always_repeated() {
        let repeated =
            |status: u16, method| refused(StatusCode::from_u16(status).unwrap(), b"").may_be_repeated(method);
        for status in [429, 503] {
            assert!(repeated(status, Method::Post) && repeated(status, Method::Patch), "{status}");
        }
        for status in [408, 425, 500, 502, 504, 599] {
            assert!(repeated(status, Method::Get) && repeated(status, Method::Put), "{status}");
            assert!(!repeated(status, Method::Post) && !repeated(status, Method::Patch), "{status}");
        }
        for status in [301, 307, 400, 401, 404, 409, 422] {
            assert!(!repeated(status, Method::Get) && !repeated(status, Method::Post), "{status}");
        }
    }
}
