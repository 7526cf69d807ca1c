//! Server-sent events, read as a browser would.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// How long the next event may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream.
pub struct Stream {
    response: Response,
    read: Vec<u8>,
}

/// One event with its JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub event: String,
    pub id: String,
    pub data: Value,
}

impl Stream {
    /// Sends `request` and expects a stream.
    pub async fn open(request: RequestBuilder) -> Self {
        let response = request.header("Accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: Vec::new() }
    }

    /// The next event; `None` when the stream is over.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                if let Some(told) = told(&String::from_utf8(block).unwrap()) {
                    return Some(told);
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.unwrap_or_else(|_| panic!("no event within {PATIENCE:?}"));
            self.read.extend_from_slice(&chunk.unwrap()?);
        }
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Told> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }

    /// Everything to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Told> {
        let mut events = Vec::new();
        while let Some(told) = self.next().await {
            events.push(told);
        }
        events
    }
}

/// The event of one block; `None` for a comment that only shows life.
fn told(block: &str) -> Option<Told> {
    let field = |name: &str| {
        let mut values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = values.next().map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned());
        assert!(values.next().is_none(), "one {name} per event: {block}");
        value
    };
    let data = serde_json::from_str(&field("data")?).unwrap();
    Some(Told { event: field("event").unwrap_or_default(), id: field("id").unwrap_or_default(), data })
}
