//! A tenant's own server: answers as it is told, and remembers what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::eventually;

const LIMIT: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// `null` when there is none.
    pub body: Value,
    /// As it came.
    pub text: String,
    pub at: Instant,
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Told {
    pub fn json(body: &Value) -> Self {
        Self { status: 200, headers: vec![], body: body.to_string() }
    }

    pub fn status(status: u16) -> Self {
        Self { status, headers: vec![], body: format!("status {status}") }
    }
}

type Answers = dyn Fn(usize, &Asked) -> Option<Told> + Send + Sync;

/// Listens on the loopback interface until it is dropped.
pub struct Endpoint {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _end: DropGuard,
}

impl Endpoint {
    /// `answers` is given each request and its number, from 0; `None` never answers.
    pub async fn start(answers: impl Fn(usize, &Asked) -> Option<Told> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (asked, end) = (Arc::<Mutex<Vec<Asked>>>::default(), CancellationToken::new());
        let (tasks, answers): (_, Arc<Answers>) = (TaskTracker::new(), Arc::new(answers));
        let (heard, ended) = (asked.clone(), end.clone());
        tasks.clone().spawn(async move {
            while let Some(Ok((socket, _))) = ended.run_until_cancelled(listener.accept()).await {
                let (heard, answers, ended) = (heard.clone(), answers.clone(), ended.clone());
                let service = service_fn(move |request| answer(request, heard.clone(), answers.clone()));
                let connection = hyper::server::conn::http1::Builder::new();
                let connection = connection.serve_connection(TokioIo::new(socket), service);
                tasks.spawn(async move { ended.run_until_cancelled(connection).await });
            }
        });
        Self { url, asked, _end: end.drop_guard() }
    }

    /// Answers every request with the arguments that came, and their number.
    pub async fn echo() -> Self {
        Self::start(|number, asked| Some(Told::json(&json!({ "number": number, "got": asked.body })))).await
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    pub async fn wait_for(&self, requests: usize) -> Vec<Asked> {
        eventually("requests to the endpoint", LIMIT, async || {
            let asked = self.asked();
            (asked.len() >= requests).then_some(asked)
        })
        .await
    }
}

async fn answer(
    request: Request<Incoming>,
    heard: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Answers>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: headers.collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
        at: Instant::now(),
    };
    let number = {
        let mut heard = heard.lock().unwrap();
        heard.push(asked.clone());
        heard.len() - 1
    };
    let Some(told) = answers(number, &asked) else { return std::future::pending().await };
    let response =
        told.headers.iter().fold(Response::builder().status(told.status), |response, (name, value)| {
            response.header(*name, value)
        });
    Ok(response.body(Full::from(told.body)).unwrap())
}
