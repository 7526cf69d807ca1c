//! What differs between vendors: how a request is written and an answer read. No I/O.

use bytes::Bytes;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{ChatReply, ChatRequest};
use crate::http::VendorError;

/// A vendor's wire format. Implementations hold no state of a call.
pub(super) trait Wire: Send + Sync {
    /// The path below the vendor's base URL, for one that streams and one that does not.
    fn path(&self, streaming: bool) -> &'static str;

    /// The header that carries the key.
    ///
    /// # Errors
    /// When the key cannot be a header's value.
    fn credentials(&self, api_key: &SecretString) -> Result<(HeaderName, HeaderValue), VendorError>;

    /// # Errors
    /// When the request cannot be expressed in this format.
    fn encode(&self, request: &ChatRequest, model: &str, streaming: bool) -> Result<Bytes, VendorError>;

    /// Reads a whole answer that did not stream.
    ///
    /// # Errors
    /// When it is not in this format.
    fn decode(&self, body: &[u8]) -> Result<ChatReply, VendorError>;

    /// A reader for one answer that streams.
    fn stream_decoder(&self) -> Box<dyn StreamDecoder>;
}

/// Reads one streaming answer, line by line, into the reply that it builds.
pub(super) trait StreamDecoder: Send {
    /// Takes the next line without its end, adds what it says to `reply`, and returns text to pass on.
    ///
    /// # Errors
    /// When the line is not in the vendor's format, or reports the vendor's own failure.
    fn line(&mut self, line: &[u8], reply: &mut ChatReply) -> Result<Piece, VendorError>;
}

/// What a line of a stream brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing for a listener.
    Nothing,
    Text(String),
    /// A tool call or a part of one.
    Call,
    /// The reply is whole, its usage known if the vendor tells it.
    End,
}

/// A header's value that is never shown in debug output.
pub(super) fn secret_header(prefix: &str, api_key: &SecretString) -> Result<HeaderValue, VendorError> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", api_key.expose_secret()))
        .map_err(|_| VendorError::misconfigured("the vendor's key cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
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
mod tests {
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::http::LineSplitter;
    use crate::llm::vendor_a::VendorA;
    use crate::llm::vendor_b::VendorB;

    const WHOLE_A: &str = r#"{"id":"g","text":"a","calls":[{"id":"c","tool":"t","input":{}}],"usage":{"input_tokens":1,"output_tokens":2}}"#;
    const STREAM_A: &str = "event: start\ndata: {}\n\nevent: text\ndata: {\"text\":\"\\u00e9\"}\n\nevent: call\ndata: {\"id\":\"c\",\"tool\":\"t\",\"input\":{}}\n\nevent: end\ndata: {\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}\n\n";
    const WHOLE_B: &str = r#"{"result":{"message":{"content":[{"kind":"functionCall","callId":"c","functionName":"f","argumentsJson":"{}"}]}},"metering":{"promptTokens":1,"completionTokens":2}}"#;
    const STREAM_B: &str = "{\"chunk\":{\"textDelta\":\"\\u00e9\"}}\n{\"chunk\":{\"functionCallDelta\":{\"position\":0,\"callId\":\"c\",\"functionName\":\"f\",\"argumentsPart\":\"{}\"}}}\n{\"final\":{\"metering\":{\"promptTokens\":1,\"completionTokens\":2}}}\n";

    /// Whatever comes, a decoder answers; it need not answer well.
    fn decode(wire: &dyn Wire, whole: &[u8], stream: &[u8]) -> bool {
        let (mut lines, mut decoder, mut reply) =
            (LineSplitter::default(), wire.stream_decoder(), ChatReply::default());
        lines.push(stream);
        let mut ended = false;
        while let Some(line) = lines.next_line() {
            match decoder.line(line, &mut reply) {
                Ok(piece) => ended |= piece == Piece::End,
                Err(_) => break,
            }
        }
        wire.decode(whole).is_ok() && ended
    }

    #[test]
    fn mutilated_answers_never_panic() {
        let formats: [(&dyn Wire, _, _); 2] = [(&VendorA, WHOLE_A, STREAM_A), (&VendorB, WHOLE_B, STREAM_B)];
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        for (wire, whole, stream) in formats {
            assert!(decode(wire, whole.as_bytes(), stream.as_bytes()), "unharmed");
            for _ in 0..5_000 {
                let (mut whole, mut stream) = (whole.as_bytes().to_vec(), stream.as_bytes().to_vec());
                for bytes in [&mut whole, &mut stream] {
                    for _ in 0..random.random_range(1..4) {
                        let at = random.random_range(0..bytes.len());
                        match random.random_range(0..3) {
                            0 => bytes[at] = random.random(),
                            1 => bytes.truncate(at + 1),
                            _ => {
                                let tail = bytes.split_off(at);
                                bytes.extend_from_slice(&tail[tail.len() / 2..]);
                                bytes.push(b'\n');
                            }
                        }
                    }
                }
                decode(wire, &whole, &stream);
            }
        }
    }
}
