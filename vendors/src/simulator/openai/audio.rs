//! `POST /openai/v1/audio/transcriptions` (multipart, with a WAV file) and `/audio/speech` (`response_format: "pcm"`).
//!
//! Whatever the file holds, the phrases of `simulated_speech` are heard, one after another; speech is babble at 24 kHz.
//! Refused with 400: a file that is no WAV of 16 bits and one channel, another format than `pcm`, an empty input or one
//! of more than 4,096 characters. The log shows a transcription's fields, and of its file the number of bytes.

use std::sync::Arc;

use axum::extract::{FromRequest, Multipart, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::babble::Babble;
use super::super::format::{Received, Refusal, TOLD_TO_FAIL};
use super::super::lots::Request;
use super::super::speech::{admit, heard, spoken};
use super::super::vendor_name::VendorName;
use super::super::{Control, Simulator};
use super::error;

const MAX_INPUT_CHARACTERS: usize = 4_096;

#[derive(Default)]
struct Form {
    fields: Map<String, Value>,
    has_wav: bool,
}

pub(super) async fn transcriptions(
    State(simulator): State<Arc<Simulator>>,
    request: axum::extract::Request,
) -> Response {
    let headers = request.headers().clone();
    let form = match Multipart::from_request(request, &()).await {
        Ok(multipart) => read(multipart).await,
        Err(_) => Err(Refusal::bad("the body is no multipart form")),
    };
    let form = keyed(&headers, form).and_then(|form| {
        let model = form.fields.get("model").and_then(Value::as_str);
        match model {
            Some(model) if form.has_wav => Ok((model.to_owned(), form.fields)),
            Some(_) => Err(Refusal::bad("'file' must be a WAV file of 16 bits and one channel")),
            None => Err(Refusal::bad("'model' is missing")),
        }
    });
    let body = form.as_ref().map(|(_, fields)| json!(fields).to_string()).unwrap_or_default();
    let model = form.as_ref().ok().map(|(model, _)| model.as_str());
    let control =
        match admitted(&simulator, &headers, model, false, body.as_bytes(), form.as_ref().err()).await {
            Ok(control) => control,
            Err(response) => return response,
        };
    let (phrases, number) = {
        let mut state = simulator.state();
        state.transcriptions += 1;
        (state.phrases.clone(), state.transcriptions - 1)
    };
    let failure = error(StatusCode::INTERNAL_SERVER_ERROR, TOLD_TO_FAIL);
    heard(&simulator, control.mode, phrases.of(number), &failure)
}

#[derive(Deserialize)]
struct Speech {
    model: String,
    input: String,
    #[expect(dead_code, reason = "all voices babble alike; without one the request is refused")]
    voice: String,
    response_format: String,
}

pub(super) async fn speech(
    State(simulator): State<Arc<Simulator>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = serde_json::from_slice::<Speech>(&body).map_err(Refusal::from);
    let asked = keyed(&headers, asked).and_then(|asked| match asked.input.chars().count() {
        _ if asked.response_format != "pcm" => Err(Refusal::bad("only 'response_format' pcm is simulated")),
        1..=MAX_INPUT_CHARACTERS => Ok(asked),
        _ => Err(Refusal::bad("'input' must have 1 to 4096 characters")),
    });
    let model = asked.as_ref().ok().map(|asked| asked.model.as_str());
    match admitted(&simulator, &headers, model, true, &body, asked.as_ref().err()).await {
        Ok(control) => {
            let input = asked.map(|asked| asked.input).unwrap_or_default();
            spoken(&simulator, control.mode, &input, &Babble::PCM16_24000)
        }
        Err(response) => response,
    }
}

async fn admitted(
    simulator: &Simulator,
    headers: &HeaderMap,
    model: Option<&str>,
    stream: bool,
    body: &[u8],
    refusal: Option<&Refusal>,
) -> Result<Control, Response> {
    let uri = Uri::default();
    let received = Received { uri: &uri, headers, body: &[] };
    let request = Request {
        vendor: VendorName::OpenAi,
        key: received.bearer(),
        headers,
        model,
        stream: model.map(|_| stream),
        body,
        refused: refusal.map(|refusal| refusal.status),
    };
    admit(simulator, &request, refusal, error).await
}

/// Any key will do.
fn keyed<T>(headers: &HeaderMap, asked: Result<T, Refusal>) -> Result<T, Refusal> {
    let has_key = headers.get("authorization").is_some_and(|key| key.as_bytes().starts_with(b"Bearer "));
    if has_key { asked } else { Err(Refusal::new(StatusCode::UNAUTHORIZED, "no key was sent")) }
}

async fn read(mut multipart: Multipart) -> Result<Form, Refusal> {
    let broken = |_| Refusal::bad("the form is cut off");
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            let file = field.bytes().await.map_err(broken)?;
            form.has_wav = is_wav(&file);
            form.fields.insert("file_bytes".to_owned(), file.len().into());
        } else {
            form.fields.insert(name, field.text().await.map_err(broken)?.into());
        }
    }
    Ok(form)
}

/// PCM of 16 bits in one channel, whose lengths are those of the file.
fn is_wav(file: &[u8]) -> bool {
    let number = |at: usize| file.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_le_bytes);
    let short = |at: usize| file.get(at..at + 2).and_then(|it| it.try_into().ok()).map(u16::from_le_bytes);
    file.starts_with(b"RIFF")
        && file.get(8..16) == Some(b"WAVEfmt ".as_slice())
        && (short(20), short(22), short(34)) == (Some(1), Some(1), Some(16))
        && number(4).map(|length| length as usize + 8) == Some(file.len())
        && number(40).map(|length| length as usize + 44) == Some(file.len())
}
