//! A WebSocket as a client has it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const LIMIT: Duration = Duration::from_secs(30);

/// An open socket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What the other side said.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Json(Value),
    Audio(Vec<u8>),
    /// With its code, 1005 when there was none.
    Close(u16),
    /// The connection broke.
    Lost,
}

impl Socket {
    /// Opens `path` at an `http://` address, with these headers.
    pub async fn open(base_url: &str, path: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::try_open(base_url, path, headers).await.unwrap_or_else(|refused| panic!("{path}: {refused:?}"))
    }

    /// The same; refused, it is the answer's status and body.
    pub async fn try_open(
        base_url: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, (StatusCode, Value)> {
        let url = format!("{}{path}", base_url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// `false`: the other side takes no more.
    pub async fn send(&mut self, message: impl Into<Message>) -> bool {
        self.0.send(message.into()).await.is_ok()
    }

    pub async fn send_json(&mut self, value: &Value) -> bool {
        self.send(value.to_string()).await
    }

    pub async fn send_audio(&mut self, audio: Vec<u8>) -> bool {
        self.send(Message::binary(audio)).await
    }

    /// Leaves as a client does that knows how.
    ///
    /// # Panics
    /// When the goodbye is not answered.
    pub async fn close(mut self) {
        self.0.close(None).await.unwrap();
        while let Some(message) = self.0.next().await {
            message.unwrap();
        }
    }

    pub async fn next(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(LIMIT, self.0.next()).await.expect("nothing was heard");
            return match message {
                None | Some(Err(_)) => Heard::Lost,
                Some(Ok(Message::Text(text))) => Heard::Json(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(audio))) => Heard::Audio(audio.to_vec()),
                Some(Ok(Message::Close(frame))) => {
                    Heard::Close(frame.map_or(1005, |frame| frame.code.into()))
                }
                Some(Ok(_)) => continue,
            };
        }
    }

    /// The next text frame; audio is passed over.
    ///
    /// # Panics
    /// When the socket ends first.
    pub async fn json(&mut self) -> Value {
        loop {
            match self.next().await {
                Heard::Json(value) => return value,
                Heard::Audio(_) => {}
                ended => panic!("{ended:?}"),
            }
        }
    }

    /// The code of the error that the other side says, and the one it closes with; all before is passed over.
    pub async fn refusal(&mut self) -> (String, u16) {
        let mut said = String::new();
        loop {
            match self.next().await {
                Heard::Json(error) if error["type"] == "error" => {
                    assert!(error["message"].is_string(), "{error}");
                    said = error["code"].as_str().unwrap().to_owned();
                }
                Heard::Json(_) | Heard::Audio(_) => {}
                Heard::Close(code) => return (said, code),
                Heard::Lost => panic!("the socket broke after {said:?}"),
            }
        }
    }
}
