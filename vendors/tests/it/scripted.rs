//! A VendorA whose every request goes its own way, told beforehand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How one request goes; [`Script::whole`] is a good answer at once.
#[derive(Debug, Clone)]
pub struct Script {
    pub begins: Begins,
    /// Words before the end.
    pub words: usize,
    /// Before each word but the first.
    pub pause: Duration,
    pub ends: Ends,
}

#[derive(Debug, Clone)]
pub enum Begins {
    After(Duration),
    When(CancellationToken),
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ends {
    Whole,
    /// The connection breaks.
    Drop,
    /// The vendor's own error event.
    Error,
    /// Nothing more comes.
    Stall,
    /// Instead of an answer.
    Status(u16),
}

impl Script {
    pub fn whole() -> Self {
        Self { begins: Begins::After(Duration::ZERO), words: 5, pause: Duration::ZERO, ends: Ends::Whole }
    }

    pub fn never() -> Self {
        Self { begins: Begins::Never, ..Self::whole() }
    }
}

/// What the answer to request `index` (from 0) says.
pub fn text(index: usize, words: usize) -> String {
    (0..words).map(|word| format!("r{index}w{word} ")).collect()
}

/// Answers its requests as told, one script after the other, and the last one over and over.
#[derive(Clone)]
pub struct Scripted {
    pub address: SocketAddr,
    scripts: Arc<Vec<Script>>,
    /// The attempts' ids, in the order they came.
    received: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scripted = Self { address, scripts: Arc::new(scripts), received: Arc::default() };
        let router = Router::new().route("/vendor_a/v1/generate", post(answer)).with_state(scripted.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        scripted
    }

    pub fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// What the request with this id was answered, if it came to its end.
    pub fn text_of(&self, attempt_id: &str) -> String {
        let index = self.received().iter().position(|id| id == attempt_id).unwrap();
        text(index, self.script(index).words)
    }

    fn script(&self, index: usize) -> &Script {
        &self.scripts[index.min(self.scripts.len() - 1)]
    }
}

async fn answer(State(scripted): State<Scripted>, headers: HeaderMap, body: Bytes) -> Response {
    let index = {
        let mut received = scripted.received.lock().unwrap();
        received.push(headers["x-request-id"].to_str().unwrap().to_owned());
        received.len() - 1
    };
    let script = scripted.script(index).clone();
    match &script.begins {
        Begins::After(delay) => tokio::time::sleep(*delay).await,
        Begins::When(signal) => signal.cancelled().await,
        Begins::Never => std::future::pending().await,
    }
    if let Ends::Status(status) = script.ends {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let streams = serde_json::from_slice::<Value>(&body).unwrap()["stream"] == true;
    let usage = json!({"input_tokens": 10, "output_tokens": script.words});
    let pieces: Vec<String> = if streams {
        let word = |word| json!({"text": format!("r{index}w{word} ")});
        let words = (0..script.words).map(|number| format!("event: text\ndata: {}\n\n", word(number)));
        let end = match script.ends {
            Ends::Whole => format!("event: end\ndata: {}\n\n", json!({"usage": usage})),
            Ends::Error => "event: error\ndata: {}\n\n".to_owned(),
            _ => String::new(),
        };
        words.chain([end]).collect()
    } else {
        let whole = json!({"text": text(index, script.words), "usage": usage}).to_string();
        let shown = if script.ends == Ends::Whole { whole.len() } else { whole.len() / 2 };
        vec![whole[..shown].to_owned()]
    };
    let pause = script.pause;
    let pieces = stream::iter(pieces.into_iter().enumerate()).then(move |(number, piece)| async move {
        if number > 0 {
            tokio::time::sleep(pause).await;
        }
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(piece)
    });
    let end = stream::once(async move {
        match script.ends {
            Ends::Drop => Err(std::io::Error::other("told to drop the connection")),
            Ends::Stall => std::future::pending().await,
            _ => Ok(String::new()),
        }
    });
    Body::from_stream(pieces.chain(end)).into_response()
}
