//! The browser's socket: PCM16, 16 kHz, mono, both ways; JSON for everything else.

use axum::extract::ws::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use events::{AgentId, CallId, SessionId};
use nats::media::AudioFormat;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sockets::line::Mark;
use crate::sockets::refusal::Refusal;
use crate::sockets::wire::{Said, Wire};

pub(super) struct BrowserWire {
    pub(super) call_id: CallId,
    pub(super) session_id: SessionId,
    pub(super) agent_id: AgentId,
    pub(super) agent_name: String,
    /// What came as base64.
    pub(super) decoded: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    Audio {
        #[serde(borrow)]
        data: std::borrow::Cow<'a, str>,
    },
    End,
}

impl Wire for BrowserWire {
    const FORMAT: AudioFormat = AudioFormat::Pcm16k;

    fn read<'a>(&'a mut self, message: &'a Message) -> Result<Said<'a>, Refusal> {
        match message {
            Message::Binary(bytes) => Ok(Said::Audio { bytes, at_ms: None }),
            Message::Text(text) => {
                let invalid = |_| Refusal::InvalidMessage("a text frame must be JSON of type audio or end");
                match serde_json::from_str(text).map_err(invalid)? {
                    Frame::End => Ok(Said::EndOfUtterance),
                    Frame::Audio { data } => {
                        self.decoded.clear();
                        let decoded = STANDARD.decode_vec(data.as_bytes(), &mut self.decoded);
                        decoded.map_err(|_| Refusal::InvalidAudio)?;
                        Ok(Said::Audio { bytes: &self.decoded, at_ms: None })
                    }
                }
            }
            Message::Close(_) => Ok(Said::Stop),
            Message::Ping(_) | Message::Pong(_) => Ok(Said::Nothing),
        }
    }

    fn attended(&mut self) -> Option<Message> {
        let started = json!({
            "type": "session_started",
            "agent": { "id": self.agent_id, "name": self.agent_name },
            "call_id": self.call_id,
            "session_id": self.session_id,
        });
        Some(Message::text(started.to_string()))
    }

    fn play(&mut self, audio: Bytes) -> Message {
        Message::Binary(audio)
    }

    fn mark(&mut self, _: Mark) -> Option<Message> {
        None
    }

    fn clear(&mut self) -> Message {
        Message::text(json!({ "type": "interrupted" }).to_string())
    }

    fn tell(&mut self, frame: Value) -> Option<Message> {
        Some(Message::text(frame.to_string()))
    }

    fn ended(&mut self, reason: &str, seconds: f64) -> Option<Message> {
        let seconds = (seconds * 1_000.0).round() / 1_000.0;
        let ended = json!({ "type": "session_ended", "reason": reason, "duration": seconds });
        Some(Message::text(ended.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> BrowserWire {
        BrowserWire {
            call_id: CallId::new(),
            session_id: SessionId::new(),
            agent_id: AgentId::new(),
            agent_name: "Desk".to_owned(),
            decoded: Vec::new(),
        }
    }

    #[test]
    fn audio_comes_as_bytes_or_as_base64() {
        let mut wire = wire();
        let expected = Said::Audio { bytes: &[1, 2, 3, 4], at_ms: None };
        assert_eq!(wire.read(&Message::binary(vec![1, 2, 3, 4])), Ok(expected));
        let text = Message::text(r#"{"data":"AQIDBA==","type":"audio"}"#);
        assert_eq!(wire.read(&text), Ok(Said::Audio { bytes: &[1, 2, 3, 4], at_ms: None }));
        assert_eq!(wire.read(&Message::text(r#"{"type":"end"}"#)), Ok(Said::EndOfUtterance));
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for text in
            ["", "{", "[]", "null", "{}", r#"{"type":"start"}"#, r#"{"type":"audio"}"#, r#"{"type":7}"#]
        {
            let refused = wire().read(&Message::text(text)).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), "invalid_message", "{text}");
        }
        for data in ["A", "AQID===", "A QID", "äöü"] {
            let text = json!({ "type": "audio", "data": data }).to_string();
            assert_eq!(wire().read(&Message::text(text)), Err(Refusal::InvalidAudio), "{data}");
        }
    }
}
