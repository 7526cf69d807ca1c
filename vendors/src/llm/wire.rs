//! What differs between vendors: how a request is written and an answer read. No I/O.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ChatMessage, ChatReply, ChatRequest, ToolCall, Usage};
use crate::http::{Refusal, VendorError};

/// A vendor's wire format. Implementations hold no state of a call.
pub(super) trait Wire: Send + Sync {
    /// Where requests go, for answers that stream and for those that do not.
    fn path(&self, streaming: bool) -> Path;

    /// The headers that every request carries; the key is one of them.
    ///
    /// # Errors
    /// When the key cannot be a header's value.
    fn headers(&self, api_key: &SecretString) -> Result<HeaderMap, VendorError>;

    /// # Errors
    /// When the request cannot be expressed in this format.
    fn encode(&self, request: &ChatRequest, model: &str, streaming: bool) -> Result<Bytes, VendorError>;

    /// Reads a whole answer that did not stream.
    ///
    /// # Errors
    /// When it is not in this format.
    fn decode(&self, body: &[u8]) -> Result<Answer, VendorError>;

    /// A reader for one answer that streams.
    fn stream_decoder(&self) -> Box<dyn StreamDecoder>;

    /// What the body of an error answer says beyond its status; nothing, where that is not understood.
    fn refusal(&self, _body: &[u8]) -> Refusal {
        Refusal::default()
    }
}

/// A place below the vendor's base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// The path, and the query if there is one.
    pub(super) fixed: &'static str,
    /// Where the model has a place in the path: a last segment of the model and this.
    pub(super) after_model: Option<&'static str>,
}

impl Path {
    pub(super) fn fixed(fixed: &'static str) -> Self {
        Self { fixed, after_model: None }
    }
}

/// Reads one streaming answer, line by line.
pub(super) trait StreamDecoder: Send {
    /// Takes the next line without its end, adds what it says to `answer`, and returns text to pass on.
    ///
    /// # Errors
    /// When the line is not in the vendor's format, or reports the vendor's own failure.
    fn line(&mut self, line: &[u8], answer: &mut Answer) -> Result<Piece, VendorError>;

    /// The body has ended, an empty line has been taken after its last, and none was the answer's end.
    ///
    /// # Errors
    /// When the answer is not whole without one.
    fn end(&mut self, _answer: &mut Answer) -> Result<(), VendorError> {
        Err(VendorError::dropped())
    }
}

/// A reply while it is being read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) tool_calls: Vec<ToolCall>,
    /// `None` until the vendor tells, and for good where it never does.
    pub(super) usage: Option<Usage>,
    /// Why the model had to stop, unless it was done.
    pub(super) cut: Option<Cut>,
}

/// What kept a model from saying more. With nothing said before it, asking again would end the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The limit on the output.
    Length,
    /// The vendor's rules about content, or the model's own refusal.
    Content,
}

impl Answer {
    /// # Errors
    /// When a whole answer says nothing and asks for nothing.
    pub(super) fn check(&self) -> Result<(), VendorError> {
        if !self.tool_calls.is_empty() || !self.text.trim().is_empty() {
            return Ok(());
        }
        Err(match self.cut {
            None => VendorError::empty_answer(),
            Some(Cut::Length) => VendorError::output_limit(),
            Some(Cut::Content) => VendorError::refused(),
        })
    }

    pub(super) fn into_reply(self, usage: Usage) -> ChatReply {
        ChatReply { text: self.text, tool_calls: self.tool_calls, usage }
    }
}

/// What a line of a stream brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing for a listener.
    Nothing,
    Text(String),
    /// A tool call or a part of one.
    Call,
    /// The answer is whole, its usage known if the vendor tells it.
    End,
}

/// A header's value that is never shown in debug output.
pub(super) fn secret_header(prefix: &str, api_key: &SecretString) -> Result<HeaderValue, VendorError> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", api_key.expose_secret()))
        .map_err(|_| VendorError::misconfigured("the vendor's key cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header of a bearer token.
///
/// # Errors
/// As [`secret_header`].
pub(super) fn bearer(api_key: &SecretString) -> Result<HeaderMap, VendorError> {
    Ok(HeaderMap::from_iter([(AUTHORIZATION, secret_header("Bearer ", api_key)?)]))
}

/// What stands under `error` in an error answer, where most vendors say what went wrong.
pub(super) fn error_in<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Failure<T> {
        error: T,
    }
    serde_json::from_slice(body).ok().map(|Failure { error }| error)
}

/// The conversation in turns of different roles, for formats whose roles alternate and that want the results of all
/// calls in the one turn after them: what neighbours of one role say is put together, and who says nothing is left out.
pub(super) fn turns<'a, P>(
    messages: &'a [ChatMessage],
    parts: impl Fn(&'a ChatMessage) -> (&'static str, Vec<P>),
) -> Vec<(&'static str, Vec<P>)> {
    let mut turns: Vec<(&'static str, Vec<P>)> = Vec::with_capacity(messages.len());
    for message in messages {
        let (role, parts) = parts(message);
        match turns.last_mut() {
            _ if parts.is_empty() => {}
            Some((last, said)) if *last == role => said.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    turns
}

/// Serialises a body; only a map with keys that are no strings could fail, and no format has one.
pub(super) fn json<T: serde::Serialize>(body: &T) -> Result<Bytes, VendorError> {
    let mut bytes = Vec::with_capacity(2048);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|_| VendorError::misconfigured("the request cannot be written as JSON"))?;
    Ok(bytes.into())
}

/// Says where JSON went wrong, without quoting it: an answer holds customers' words.
pub(super) fn bad_json(error: &serde_json::Error) -> VendorError {
    let what = match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "no JSON",
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that ends too early",
    };
    VendorError::garbage(&format!("{what} (column {})", error.column()))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
