//! Messages that are spoken into a file.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use crate::client::Answer;
use crate::{Client, World};

/// Where the simulated speech vendor is, as a setting.
pub const SPEECH: (&str, &str) = ("SIMULATED_SPEECH_BASE_URL", "{simulator}/simulated/v1");

/// A file that a test may send: its name and its bytes.
pub type File = (&'static str, &'static [u8]);

/// The same tones in every format that is taken.
pub const TONES: [File; 4] = [
    ("tones.mp3", include_bytes!("../../voice/fixtures/tones.mp3")),
    ("tones.m4a", include_bytes!("../../voice/fixtures/tones.m4a")),
    ("tones.webm", include_bytes!("../../voice/fixtures/tones.webm")),
    ("tones.ogg", include_bytes!("../../voice/fixtures/tones.ogg")),
];

/// A WAV file of 16 bits, one channel, 16 kHz.
pub fn wav(samples: &[i16]) -> Vec<u8> {
    wav_at(16_000, samples)
}

/// The same at another rate.
pub fn wav_at(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let length = (samples.len() * 2) as u32;
    let mut file = Vec::from(*b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend([rate_hz, rate_hz * 2].map(u32::to_le_bytes).concat());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// So many seconds of a tone.
pub fn tone(seconds: f64) -> Vec<i16> {
    let sample =
        |at: u32| (8_000.0 * (f64::from(at) / 16_000.0 * 440.0 * std::f64::consts::TAU).sin()) as i16;
    (0..(seconds * 16_000.0) as u32).map(sample).collect()
}

/// An agent whose ears and mouth are simulated.
pub async fn agent(client: &Client) -> String {
    let speech = json!({ "provider": "simulated" });
    let agent = json!({
        "name": "Listener", "primary_provider": "vendor_a", "tools_enabled": ["invoice_lookup"],
        "stt": speech, "tts": speech
    });
    let agent = client.post("/api/agents", agent).await;
    assert!(agent.status.is_success(), "{agent:?}");
    agent.text("id").to_owned()
}

/// A session with such an agent.
pub async fn session(client: &Client) -> String {
    client.session(&agent(client).await).await
}

/// Sends a file as the message's form has it.
pub async fn speak(client: &Client, session: &str, file: &[u8]) -> Answer {
    speak_with(client, session, file, &[]).await
}

/// The same with further headers.
pub async fn speak_with(client: &Client, session: &str, file: &[u8], headers: &[(&str, &str)]) -> Answer {
    let part = Part::bytes(file.to_vec()).file_name("anything.txt").mime_str("text/plain").unwrap();
    send(client, session, Form::new().part("audio_file", part), headers).await
}

/// Sends any form.
pub async fn send(client: &Client, session: &str, form: Form, headers: &[(&str, &str)]) -> Answer {
    let request = client.request(Method::POST, &path(session)).multipart(form);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send(request).await.unwrap()
}

pub fn path(session: &str) -> String {
    format!("/api/sessions/{session}/voice/message")
}

/// How often the simulated speech vendor was asked to hear and to speak.
pub async fn heard_and_spoken(world: &World) -> (usize, usize) {
    let log = world.vendor_log("simulated_speech").await;
    // Only what is spoken streams.
    let spoken = log.iter().filter(|request| request["stream"] == true).count();
    (log.len() - spoken, spoken)
}
