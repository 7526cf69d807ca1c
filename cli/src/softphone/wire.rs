//! The two ways in which a softphone speaks to VocalBridge: as a browser, and as Twilio.

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use voice::g711;
use voice::resample::Resampler;

/// What came from the other side.
#[derive(Debug, PartialEq)]
pub enum Received {
    /// 16 kHz.
    Audio(Vec<i16>),
    Mark(String),
    /// Forget what was not played.
    Clear,
    /// One of the frames that browsers are told.
    Told(Value),
}

/// How a socket talks.
pub enum Wire {
    Browser,
    Twilio(Box<Twilio>),
}

/// A stream of Twilio's.
pub struct Twilio {
    pub stream_sid: String,
    down: Resampler,
    up: Resampler,
    chunk: u64,
}

impl Twilio {
    pub fn new(stream_sid: String) -> Self {
        Self { stream_sid, down: Resampler::new(16_000, 8_000), up: Resampler::new(8_000, 16_000), chunk: 0 }
    }

    /// The first two messages of a stream.
    pub fn opening(&self, account_sid: &str, call_sid: &str, parameters: &Value) -> [Message; 2] {
        let start = json!({
            "event": "start", "sequenceNumber": "1", "streamSid": self.stream_sid,
            "start": {
                "accountSid": account_sid, "streamSid": self.stream_sid, "callSid": call_sid,
                "tracks": ["inbound"], "customParameters": parameters,
                "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            },
        });
        let connected = json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" });
        [Message::text(connected.to_string()), Message::text(start.to_string())]
    }
}

impl Wire {
    /// One frame of the caller's, 16 kHz.
    pub fn audio(&mut self, frame: &[i16]) -> Message {
        match self {
            Self::Browser => {
                Message::binary(frame.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>())
            }
            Self::Twilio(twilio) => {
                let (mut samples, mut mulaw) = (Vec::new(), Vec::new());
                twilio.down.process(frame, &mut samples);
                g711::pcm_to_mulaw(&samples, &mut mulaw);
                twilio.chunk += 1;
                let (chunk, timestamp) = (twilio.chunk.to_string(), ((twilio.chunk - 1) * 20).to_string());
                let media = json!({
                    "event": "media", "sequenceNumber": (twilio.chunk + 1).to_string(),
                    "streamSid": twilio.stream_sid,
                    "media": {
                        "track": "inbound", "chunk": chunk, "timestamp": timestamp,
                        "payload": BASE64.encode(&mulaw),
                    },
                });
                Message::text(media.to_string())
            }
        }
    }

    /// A mark was reached.
    pub fn reached(&self, name: &str) -> Option<Message> {
        match self {
            Self::Browser => None,
            Self::Twilio(twilio) => {
                let mark =
                    json!({ "event": "mark", "streamSid": twilio.stream_sid, "mark": { "name": name } });
                Some(Message::text(mark.to_string()))
            }
        }
    }

    /// What is said before the socket is closed.
    pub fn goodbye(&self) -> Option<Message> {
        match self {
            Self::Browser => None,
            Self::Twilio(twilio) => {
                let stop = json!({ "event": "stop", "streamSid": twilio.stream_sid, "stop": {} });
                Some(Message::text(stop.to_string()))
            }
        }
    }

    /// What a message says; `None`: nothing that matters.
    ///
    /// # Errors
    /// When the other side does not keep to the protocol.
    pub fn read(&mut self, message: Message) -> Result<Option<Received>> {
        match (self, message) {
            (Self::Browser, Message::Binary(audio)) => {
                let samples = audio.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                Ok(Some(Received::Audio(samples.collect())))
            }
            (Self::Browser, Message::Text(text)) => {
                let told: Value = serde_json::from_str(&text)?;
                let clears = told["type"] == "interrupted";
                Ok(Some(if clears { Received::Clear } else { Received::Told(told) }))
            }
            (Self::Twilio(twilio), Message::Text(text)) => twilio.read(&serde_json::from_str(&text)?),
            (Self::Twilio(_), Message::Binary(_)) => bail!("Twilio is sent text only"),
            _ => Ok(None),
        }
    }
}

impl Twilio {
    fn read(&mut self, said: &Value) -> Result<Option<Received>> {
        if said["type"] == "error" {
            return Ok(Some(Received::Told(said.clone())));
        }
        if said["streamSid"] != self.stream_sid.as_str() {
            bail!("a message for another stream: {said}");
        }
        match said["event"].as_str() {
            Some("media") => {
                let mulaw = BASE64.decode(said["media"]["payload"].as_str().unwrap_or_default())?;
                let (mut narrow, mut samples) = (Vec::new(), Vec::new());
                g711::mulaw_to_pcm(&mulaw, &mut narrow);
                self.up.process(&narrow, &mut samples);
                Ok(Some(Received::Audio(samples)))
            }
            Some("mark") => {
                Ok(Some(Received::Mark(said["mark"]["name"].as_str().unwrap_or_default().to_owned())))
            }
            Some("clear") => Ok(Some(Received::Clear)),
            _ => bail!("no message of Twilio's: {said}"),
        }
    }
}
