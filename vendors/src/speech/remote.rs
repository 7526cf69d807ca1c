//! A speech vendor over HTTP: attempts with their limits, retries as they are made for language models.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Kind, Measured, SpeechConfig, SpeechError};
use crate::WallClock;
use crate::http::{Body, Class, Refusal, VendorError, parse_retry_after};
use crate::resilience::{Backoff, Jitter};

/// More than a minute of anybody's words.
const MAX_TRANSCRIPT_BYTES: usize = 64 * 1_024;

/// One vendor at one address.
pub(crate) struct Remote {
    provider: &'static str,
    http: Client,
    base_url: String,
    headers: HeaderMap,
    timeout: Duration,
    first_audio_timeout: Duration,
    stall_timeout: Duration,
    max_retries: u32,
    backoff: Backoff,
    jitter: Jitter,
    now: WallClock,
}

impl Remote {
    /// # Errors
    /// When the address is no URL, or the key cannot be sent.
    pub(crate) fn new(
        provider: &'static str,
        http: Client,
        base_url: &str,
        api_key: Option<&SecretString>,
        config: &SpeechConfig,
        now: WallClock,
    ) -> Result<Self, VendorError> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        if Url::parse(&base_url).map_or(true, |url| url.cannot_be_a_base()) {
            return Err(VendorError::misconfigured("the vendor's base URL is no URL"));
        }
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        if let Some(key) = api_key {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                .map_err(|_| VendorError::misconfigured("the vendor's key cannot be sent"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(Self {
            provider,
            http,
            base_url,
            headers,
            timeout: config.timeout,
            first_audio_timeout: config.first_audio_timeout,
            stall_timeout: config.stall_timeout,
            max_retries: config.max_retries,
            backoff: config.backoff,
            jitter: Jitter::new(config.jitter_seed),
            now,
        })
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.base_url)).headers(self.headers.clone());
        request.header("x-request-id", Uuid::now_v7().to_string())
    }

    /// The JSON that a transcription answers. A partial one is not tried twice: the next one is better anyway.
    ///
    /// # Errors
    /// As the last attempt failed.
    pub(crate) async fn transcript<T: DeserializeOwned>(
        &self,
        kind: Kind,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, SpeechError> {
        let retries = if kind == Kind::Partial { 0 } else { self.max_retries };
        let attempt = || {
            let request = request();
            async move {
                let whole = async {
                    let body = Body::new(self.answer(request).await?, MAX_TRANSCRIPT_BYTES);
                    let body = body.whole(|| {}).await?;
                    serde_json::from_slice(&body).map_err(|_| VendorError::garbage("no transcript"))
                };
                timeout(self.timeout, whole).await.unwrap_or_else(|_| Err(VendorError::timeout(self.timeout)))
            }
        };
        self.try_often(kind, retries, attempt).await
    }

    /// The answer's audio from its first piece on; more than `limit_bytes` of it is garbage.
    ///
    /// # Errors
    /// As the last attempt failed.
    pub(crate) async fn audio(
        &self,
        limit_bytes: usize,
        whole_sample_bytes: usize,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<RemoteAudio, SpeechError> {
        let attempt = || {
            let request = request();
            async move {
                let begun = async {
                    let response = self.answer(request).await?;
                    if !is_audio(&response) {
                        return Err(VendorError::garbage("no audio"));
                    }
                    let mut body = Body::new(response, limit_bytes);
                    let first = Some(body.chunk().await?.ok_or_else(VendorError::empty_answer)?);
                    let (provider, stall_timeout) = (self.provider, self.stall_timeout);
                    let rest = BytesMut::new();
                    Ok(RemoteAudio { body, first, rest, whole_sample_bytes, provider, stall_timeout })
                };
                let limit = self.first_audio_timeout;
                timeout(limit, begun).await.unwrap_or_else(|_| Err(VendorError::no_first_token(limit)))
            }
        };
        self.try_often(Kind::Synthesis, self.max_retries, attempt).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, VendorError> {
        let response = request.send().await.map_err(|error| VendorError::from_transport(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = after.and_then(|value| parse_retry_after(value, (self.now)()));
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let _ = Body::new(response, usize::MAX).drain().await;
        Err(VendorError::from_status(status, Refusal { retry_after, permanent: false }))
    }

    async fn try_often<T, F: Future<Output = Result<T, VendorError>>>(
        &self,
        kind: Kind,
        retries: u32,
        attempt: impl Fn() -> F,
    ) -> Result<T, SpeechError> {
        let mut number = 0;
        loop {
            let measured = Measured::begin(kind, self.provider);
            let result = attempt().await;
            let result = result.map_err(|source| SpeechError::Vendor { provider: self.provider, source });
            measured.ended(&result);
            number += 1;
            match result {
                Err(error) if number <= retries => match error.class() {
                    Class::Retry { after } => {
                        tokio::time::sleep(self.backoff.wait(number, after, self.jitter.next())).await;
                    }
                    Class::Reject | Class::Fatal => return Err(error),
                },
                result => return result,
            }
        }
    }
}

/// Audio on its way to us.
pub(crate) struct RemoteAudio {
    body: Body,
    first: Option<Bytes>,
    /// The beginning of a sample whose end is still on its way.
    rest: BytesMut,
    whole_sample_bytes: usize,
    provider: &'static str,
    stall_timeout: Duration,
}

impl RemoteAudio {
    /// Whole samples; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When the audio stands still, breaks off, or is larger than its text can be.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SpeechError> {
        self.piece().await.map_err(|source| SpeechError::Vendor { provider: self.provider, source })
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, VendorError> {
        loop {
            let piece = match self.first.take() {
                Some(first) => Some(first),
                None => timeout(self.stall_timeout, self.body.chunk())
                    .await
                    .unwrap_or_else(|_| Err(VendorError::stalled(self.stall_timeout)))?,
            };
            let Some(piece) = piece else {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(VendorError::garbage("half a sample"))
                };
            };
            if let Some(whole) = whole_samples(&mut self.rest, piece, self.whole_sample_bytes) {
                return Ok(Some(whole));
            }
        }
    }
}

/// What there is of whole samples; what is beyond stays in `rest`.
fn whole_samples(rest: &mut BytesMut, piece: Bytes, sample_bytes: usize) -> Option<Bytes> {
    let mut all = if rest.is_empty() {
        piece
    } else {
        rest.extend_from_slice(&piece);
        rest.split().freeze()
    };
    let tail = all.split_off(all.len() - all.len() % sample_bytes);
    rest.extend_from_slice(&tail);
    (!all.is_empty()).then_some(all)
}

/// A page or a JSON document with status 200 is not to be played to anybody.
fn is_audio(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    !kind.starts_with("text/") && !kind.starts_with("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stay_whole_however_the_audio_is_cut() {
        let audio: Vec<u8> = (0..=99).collect();
        for piece_bytes in 1..=7 {
            let (mut rest, mut got) = (BytesMut::new(), Vec::new());
            for piece in audio.chunks(piece_bytes) {
                let whole = whole_samples(&mut rest, Bytes::copy_from_slice(piece), 2);
                assert!(whole.as_ref().is_none_or(|whole| whole.len() % 2 == 0));
                got.extend(whole.into_iter().flatten());
            }
            assert!(rest.is_empty());
            assert_eq!(got, audio);
        }
    }
}
