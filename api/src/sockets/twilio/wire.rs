//! Twilio Media Streams: JSON text frames, µ-law at 8 kHz in base64. Numbers come as strings, or as numbers.

use std::borrow::Cow;
use std::fmt;

use axum::extract::ws::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use nats::media::AudioFormat;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sockets::line::Mark;
use crate::sockets::refusal::Refusal;
use crate::sockets::wire::{Said, Wire};

/// What a stream says before its audio.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    #[serde(rename = "streamSid")]
    pub stream_sid: String,
    #[serde(rename = "callSid")]
    pub call_sid: String,
    #[serde(rename = "customParameters", default)]
    pub parameters: Parameters,
    #[serde(rename = "mediaFormat")]
    format: Option<Format>,
}

/// Ours; others are passed over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    pub token: String,
}

#[derive(Debug, Deserialize)]
struct Format {
    encoding: String,
    #[serde(rename = "sampleRate")]
    sample_rate: Number,
    channels: Number,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    start: Option<Start>,
    #[serde(borrow)]
    media: Option<Media<'a>>,
    #[serde(borrow)]
    mark: Option<Named<'a>>,
    #[serde(borrow)]
    dtmf: Option<Pressed<'a>>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow, default)]
    track: Option<Cow<'a, str>>,
    #[serde(default)]
    timestamp: Option<Number>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Pressed<'a> {
    #[serde(borrow)]
    digit: Cow<'a, str>,
}

/// A whole number, as a string or as itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

const NOT_TWILIO: Refusal = Refusal::InvalidMessage("no message of Twilio Media Streams");

fn frame(message: &Message) -> Result<Option<Frame<'_>>, Refusal> {
    match message {
        Message::Text(text) => serde_json::from_str(text).map(Some).map_err(|_| NOT_TWILIO),
        Message::Binary(_) => Err(Refusal::UnexpectedBinary),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(None),
    }
}

/// The start of a stream; `None`: it comes later.
///
/// # Errors
/// When something else comes first, or the audio is not as it has to be.
pub(super) fn start(message: &Message) -> Result<Option<Start>, Refusal> {
    let Some(frame) = frame(message)? else { return Ok(None) };
    match &*frame.event {
        "connected" => Ok(None),
        "start" => {
            let start = frame.start.ok_or(NOT_TWILIO)?;
            let is_ours = |format: &Format| {
                format.encoding == "audio/x-mulaw"
                    && format.sample_rate == Number(8_000)
                    && format.channels == Number(1)
            };
            if start.format.as_ref().is_none_or(is_ours) {
                Ok(Some(start))
            } else {
                Err(Refusal::InvalidMessage("the audio must be audio/x-mulaw, 8000 Hz, one channel"))
            }
        }
        _ => Err(Refusal::InvalidMessage("a start must come first")),
    }
}

/// A stream that has started.
pub(super) struct TwilioWire {
    /// As JSON, quotes included.
    stream_sid: String,
    decoded: Vec<u8>,
}

impl TwilioWire {
    pub(super) fn new(stream_sid: &str) -> Self {
        Self { stream_sid: Value::from(stream_sid).to_string(), decoded: Vec::new() }
    }
}

/// A mark's name on the wire: `<generation>:<position>`.
fn mark_of(name: &str) -> Option<Mark> {
    let (generation, position) = name.split_once(':')?;
    Some(Mark { generation: generation.parse().ok()?, position: position.parse().ok()? })
}

impl Wire for TwilioWire {
    const FORMAT: AudioFormat = AudioFormat::Mulaw8k;

    fn read<'a>(&'a mut self, message: &'a Message) -> Result<Said<'a>, Refusal> {
        if matches!(message, Message::Close(_)) {
            return Ok(Said::Stop);
        }
        let Some(frame) = frame(message)? else { return Ok(Said::Nothing) };
        match &*frame.event {
            "media" => {
                let media = frame.media.ok_or(NOT_TWILIO)?;
                if media.track.is_some_and(|track| track != "inbound") {
                    return Ok(Said::Nothing);
                }
                self.decoded.clear();
                let decoded = STANDARD.decode_vec(media.payload.as_bytes(), &mut self.decoded);
                decoded.map_err(|_| Refusal::InvalidAudio)?;
                let at_ms = media.timestamp.map(|Number(at_ms)| at_ms);
                Ok(Said::Audio { bytes: &self.decoded, at_ms })
            }
            // Marks of other names are somebody else's.
            "mark" => Ok(mark_of(&frame.mark.ok_or(NOT_TWILIO)?.name).map_or(Said::Nothing, Said::Mark)),
            "dtmf" => {
                let digit = frame.dtmf.ok_or(NOT_TWILIO)?.digit.chars().next();
                let key = digit.filter(|digit| "0123456789*#ABCD".contains(*digit));
                Ok(key.map_or(Said::Nothing, Said::Dtmf))
            }
            "stop" => Ok(Said::Stop),
            // What later versions of the protocol may bring.
            _ => Ok(Said::Nothing),
        }
    }

    fn attended(&mut self) -> Option<Message> {
        None
    }

    fn play(&mut self, audio: Bytes) -> Message {
        let mut text = String::with_capacity(96 + audio.len() / 3 * 4);
        text.push_str(r#"{"event":"media","streamSid":"#);
        text.push_str(&self.stream_sid);
        text.push_str(r#","media":{"payload":""#);
        STANDARD.encode_string(&audio, &mut text);
        text.push_str(r#""}}"#);
        Message::text(text)
    }

    fn mark(&mut self, mark: Mark) -> Option<Message> {
        #[derive(Serialize)]
        struct Name {
            name: String,
        }
        let name = serde_json::json!(Name { name: format!("{}:{}", mark.generation, mark.position) });
        Some(Message::text(format!(r#"{{"event":"mark","streamSid":{},"mark":{name}}}"#, self.stream_sid)))
    }

    fn clear(&mut self) -> Message {
        Message::text(format!(r#"{{"event":"clear","streamSid":{}}}"#, self.stream_sid))
    }

    fn tell(&mut self, _: Value) -> Option<Message> {
        None
    }

    fn ended(&mut self, _: &str, _: f64) -> Option<Message> {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: Value) -> Message {
        Message::text(value.to_string())
    }

    /// As Twilio's documentation shows it.
    fn documented_start() -> Value {
        json!({
            "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
            "start": {
                "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
                "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
                "customParameters": { "token": "a.b", "FirstName": "Jane" }
            }
        })
    }

    #[test]
    fn a_start_says_whose_stream_it_is() {
        let connected = json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" });
        assert!(start(&text(connected)).unwrap().is_none());
        let started = start(&text(documented_start())).unwrap().unwrap();
        let said = (&*started.stream_sid, &*started.call_sid, &*started.parameters.token);
        assert_eq!(said, ("MZ1", "CA1", "a.b"));
        let mut as_strings = documented_start();
        as_strings["start"]["mediaFormat"]["sampleRate"] = json!("8000");
        assert!(start(&text(as_strings)).unwrap().is_some());
    }

    #[test]
    fn a_stream_that_does_not_begin_with_a_start_is_refused() {
        let mut pcm = documented_start();
        pcm["start"]["mediaFormat"]["encoding"] = json!("audio/l16");
        let media = json!({ "event": "media", "media": { "payload": "" } });
        for message in [text(pcm), text(media), text(json!({ "event": "start" })), text(json!("start"))] {
            assert_eq!(start(&message).unwrap_err().code(), "invalid_message", "{message:?}");
        }
        assert_eq!(start(&Message::binary(vec![1])).unwrap_err(), Refusal::UnexpectedBinary);
    }

    #[test]
    fn media_marks_keys_and_the_stop_are_read_whatever_numbers_look_like() {
        let mut wire = TwilioWire::new("MZ1");
        for timestamp in [json!("40"), json!(40)] {
            let media = json!({ "event": "media", "sequenceNumber": "4", "streamSid": "MZ1",
                "media": { "track": "inbound", "chunk": "2", "timestamp": timestamp, "payload": "/38=" } });
            assert_eq!(wire.read(&text(media)), Ok(Said::Audio { bytes: &[0xff, 0x7f], at_ms: Some(40) }));
        }
        let mark = json!({ "event": "mark", "streamSid": "MZ1", "mark": { "name": "3:1600" } });
        assert_eq!(wire.read(&text(mark)), Ok(Said::Mark(Mark { generation: 3, position: 1_600 })));
        let digit = json!({ "event": "dtmf", "dtmf": { "track": "inbound_track", "digit": "#" } });
        assert_eq!(wire.read(&text(digit)), Ok(Said::Dtmf('#')));
        let stop = json!({ "event": "stop", "stop": { "accountSid": "AC1", "callSid": "CA1" } });
        assert_eq!(wire.read(&text(stop)), Ok(Said::Stop));
        for other in [
            json!({ "event": "media", "media": { "track": "outbound", "payload": "/w==" } }),
            json!({ "event": "mark", "mark": { "name": "hello" } }),
            json!({ "event": "mark", "mark": { "name": "99999999999:1" } }),
            json!({ "event": "dtmf", "dtmf": { "digit": "x" } }),
            json!({ "event": "tomorrow", "tomorrow": { "a": [1] } }),
        ] {
            assert_eq!(wire.read(&text(other)), Ok(Said::Nothing));
        }
    }

    #[test]
    fn what_is_no_message_of_twilios_is_refused() {
        let mut wire = TwilioWire::new("MZ1");
        for wrong in [
            json!(null),
            json!([]),
            json!({ "event": 1 }),
            json!({ "event": "media" }),
            json!({ "event": "media", "media": { "payload": 7 } }),
            json!({ "event": "media", "media": { "payload": "", "timestamp": "-1" } }),
            json!({ "event": "media", "media": { "payload": "", "timestamp": 1.5 } }),
        ] {
            assert_eq!(wire.read(&text(wrong.clone())), Err(NOT_TWILIO), "{wrong}");
        }
        let media = json!({ "event": "media", "media": { "payload": "no base64!" } });
        assert_eq!(wire.read(&text(media)), Err(Refusal::InvalidAudio));
        assert_eq!(wire.read(&Message::binary(vec![0; 160])), Err(Refusal::UnexpectedBinary));
    }

    #[test]
    fn what_is_sent_is_json_whatever_the_stream_is_called() {
        let mut wire = TwilioWire::new("M\"Z\\");
        let mark = Mark { generation: 1, position: 2 };
        for (message, event) in [
            (wire.play(Bytes::from_static(&[0xff, 0x7f])), "media"),
            (wire.mark(mark).unwrap(), "mark"),
            (wire.clear(), "clear"),
        ] {
            let sent: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            assert_eq!((&sent["event"], &sent["streamSid"]), (&json!(event), &json!("M\"Z\\")));
            match event {
                "media" => assert_eq!(sent["media"], json!({ "payload": "/38=" })),
                "mark" => assert_eq!(sent["mark"], json!({ "name": "1:2" })),
                _ => {}
            }
        }
        let named = wire.mark(mark).unwrap();
        assert_eq!(wire.read(&named), Ok(Said::Mark(mark)), "it comes back as it went");
    }
}
