//! Tenants' own functions, against servers that answer whatever they like.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use futures_util::future::BoxFuture;
use futures_util::stream;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vendors::functions::{FunctionAnswer, FunctionCall, Functions, MAX_ANSWER_BYTES, Method};
use vendors::http::guard::{Names, SystemNames, UrlPolicy};

type Answers = Box<dyn Fn(usize) -> Response + Send + Sync>;

/// A function's server: answers request number n (from 0) as it was told.
struct Endpoint {
    url: String,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    _end: DropGuard,
}

impl Endpoint {
    async fn start(answers: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let (answers, count): (Arc<Answers>, _) = (Arc::new(Box::new(answers)), AtomicUsize::new(0));
        let (count, heard) = (Arc::new(count), seen.clone());
        let router = Router::new().fallback(move |request: Request| {
            heard.lock().unwrap().push(request.headers().clone());
            let answer = answers(count.fetch_add(1, Ordering::SeqCst));
            async move { answer }
        });
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        TaskTracker::new()
            .spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended).await });
        Self { url, seen, _end: end.drop_guard() }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn call(&self, method: Method) -> FunctionAnswer {
        functions(ANY, PATIENT).call(&call(&self.url, method, &Map::new())).await
    }
}

const ANY: UrlPolicy = UrlPolicy { allow_private: true };
/// Long enough for all retries.
const PATIENT: Duration = Duration::from_secs(5);
const METHODS: [Method; 4] = [Method::Get, Method::Post, Method::Put, Method::Patch];

fn functions(policy: UrlPolicy, time_limit: Duration) -> Functions {
    let names: Arc<dyn Names> = Arc::new(SystemNames);
    Functions::new(policy, &names, time_limit, || DateTime::UNIX_EPOCH).unwrap()
}

fn is_idempotent(method: Method) -> bool {
    matches!(method, Method::Get | Method::Put)
}

fn call<'a>(url: &'a str, method: Method, arguments: &'a Map<String, Value>) -> FunctionCall<'a> {
    FunctionCall {
        url,
        method,
        headers: &[],
        arguments,
        idempotency_key: "call-1",
        correlation_id: "correlation-1",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
}

#[tokio::test]
async fn every_request_of_a_call_says_which_call_it_is() {
    let endpoint = Endpoint::start(|number| match number {
        0 | 1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => "{\"ok\": true}".into_response(),
    })
    .await;
    let answer = endpoint.call(Method::Post).await;
    assert_eq!(answer, FunctionAnswer { http_status: Some(200), result: Ok(json!({ "ok": true })) });
    let seen = endpoint.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for headers in seen.iter() {
        assert_eq!(headers["idempotency-key"], "call-1");
        assert_eq!(headers["x-correlation-id"], "correlation-1");
        assert!(headers["traceparent"].to_str().unwrap().starts_with("00-0af7"));
        assert!(headers["user-agent"].to_str().unwrap().starts_with("VocalBridge/"));
        assert_eq!(headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    for method in METHODS {
        let endpoint = Endpoint::start(|_| (StatusCode::INTERNAL_SERVER_ERROR, "boom").into_response()).await;
        let answer = endpoint.call(method).await;
        assert_eq!(answer.http_status, Some(500));
        assert_eq!(answer.result, Err("the function answered HTTP 500: boom".to_owned()));
        let expected = if is_idempotent(method) { 3 } else { 1 };
        assert_eq!(endpoint.requests(), expected, "{method:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_only_where_that_is_safe() {
    for method in METHODS {
        let endpoint = Endpoint::start(|_| {
            let pieces = stream::iter([Ok("{\"half\":"), Err(io::Error::other("broken"))]);
            Body::from_stream(pieces).into_response()
        })
        .await;
        assert_eq!(endpoint.call(method).await.result, Err("the function's answer broke off".to_owned()));
        assert_eq!(endpoint.requests(), if is_idempotent(method) { 3 } else { 1 }, "{method:?}");
    }
}

/// Leads to an address where nobody listens first, then to the right one.
struct Moved(AtomicUsize);

impl Names for Moved {
    fn addresses(&self, _name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let address = if self.0.fetch_add(1, Ordering::SeqCst) == 0 { "127.0.0.2" } else { "127.0.0.1" };
        Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
    }
}

#[tokio::test]
async fn a_request_that_was_never_sent_is_sent_again() {
    for method in METHODS {
        let endpoint = Endpoint::start(|_| "done".into_response()).await;
        let names: Arc<dyn Names> = Arc::new(Moved(AtomicUsize::new(0)));
        let functions = Functions::new(ANY, &names, PATIENT, || DateTime::UNIX_EPOCH).unwrap();
        let url = endpoint.url.replace("127.0.0.1", "function.example");
        let answer = functions.call(&call(&url, method, &Map::new())).await;
        assert_eq!((answer.result, endpoint.requests()), (Ok(json!("done")), 1), "{method:?}");
    }
}

/// Knows nobody.
struct Empty(AtomicUsize);

impl Names for Empty {
    fn addresses(&self, _name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Err(io::Error::other("no such name")) })
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_asked_for_again() {
    let nobody = Arc::new(Empty(AtomicUsize::new(0)));
    let names: Arc<dyn Names> = nobody.clone();
    let functions = Functions::new(UrlPolicy::default(), &names, PATIENT, || DateTime::UNIX_EPOCH).unwrap();
    let answer = functions.call(&call("https://nobody.example/", Method::Post, &Map::new())).await;
    let told = Err("the function could not be reached".to_owned());
    assert_eq!(
        (answer, nobody.0.load(Ordering::SeqCst)),
        (FunctionAnswer { http_status: None, result: told }, 3)
    );
}

#[tokio::test]
async fn the_wished_wait_is_kept_or_the_call_is_given_up() {
    let busy = |wish: &'static str| {
        move |number| match number {
            0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", wish)]).into_response(),
            _ => "done".into_response(),
        }
    };
    let (started, endpoint) = (Instant::now(), Endpoint::start(busy("1")).await);
    assert_eq!(endpoint.call(Method::Post).await.result, Ok(json!("done")));
    assert!(started.elapsed() >= Duration::from_secs(1));
    for wish in ["6", "3600"] {
        let (started, endpoint) = (Instant::now(), Endpoint::start(busy(wish)).await);
        let answer = endpoint.call(Method::Get).await;
        assert_eq!((answer.http_status, endpoint.requests()), (Some(429), 1), "{wish}");
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_and_nobody_goes_there() {
    let elsewhere = Endpoint::start(|_| "secret".into_response()).await;
    for status in [301, 302, 303, 307, 308] {
        let (status, location) = (StatusCode::from_u16(status).unwrap(), elsewhere.url.clone());
        let endpoint =
            Endpoint::start(move |_| (status, [("location", location.clone())], "gone").into_response())
                .await;
        let answer = endpoint.call(Method::Get).await;
        assert_eq!(answer.http_status, Some(status.as_u16()));
        assert!(answer.result.unwrap_err().contains("redirects are not followed"));
        assert_eq!(endpoint.requests(), 1);
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_large_or_endless_answer_is_cut_off() {
    let large = Endpoint::start(|_| vec![b'x'; MAX_ANSWER_BYTES + 1].into_response()).await;
    let endless = Endpoint::start(|_| {
        let pieces = stream::repeat_with(|| Ok::<_, io::Error>(vec![b'x'; 1_000]));
        Body::from_stream(pieces).into_response()
    })
    .await;
    for endpoint in [&large, &endless] {
        let answer = endpoint.call(Method::Get).await;
        assert_eq!(answer.http_status, Some(200));
        assert!(answer.result.unwrap_err().contains("larger than"));
        assert_eq!(endpoint.requests(), 1);
    }
    let fits = Endpoint::start(|_| vec![b'x'; MAX_ANSWER_BYTES].into_response()).await;
    assert_eq!(fits.call(Method::Get).await.result.unwrap().as_str().unwrap().len(), MAX_ANSWER_BYTES);
    // An error's body is no result: a little of it is told, whatever its size.
    let error = Endpoint::start(|_| {
        let pieces = stream::repeat_with(|| Ok::<_, io::Error>("no ".repeat(400)));
        (StatusCode::BAD_REQUEST, Body::from_stream(pieces)).into_response()
    })
    .await;
    let told = error.call(Method::Get).await.result.unwrap_err();
    assert!(told.starts_with("the function answered HTTP 400: no no") && told.len() < 300, "{told}");
}

#[tokio::test]
async fn a_slow_function_is_given_up_at_the_time_limit() {
    let silent =
        Endpoint::start(|_| Body::from_stream(stream::pending::<io::Result<Vec<u8>>>()).into_response());
    let silent = silent.await;
    for method in METHODS {
        let started = Instant::now();
        let answer =
            functions(ANY, Duration::from_millis(300)).call(&call(&silent.url, method, &Map::new())).await;
        assert_eq!(answer.result, Err("the function did not answer in time".to_owned()));
        assert!(started.elapsed() < Duration::from_secs(3));
    }
    assert_eq!(silent.requests(), METHODS.len());
}

#[tokio::test]
async fn the_tenants_headers_are_sent_and_never_shown() {
    let endpoint = Endpoint::start(|_| "done".into_response()).await;
    let headers = [("X-Secret".to_owned(), SecretString::from("hunter2"))];
    let arguments = Map::new();
    let call = FunctionCall { headers: &headers, ..call(&endpoint.url, Method::Post, &arguments) };
    assert!(functions(ANY, PATIENT).call(&call).await.result.is_ok());
    assert_eq!(endpoint.seen.lock().unwrap()[0]["x-secret"], "hunter2");
    assert!(!format!("{call:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_url_that_is_not_allowed_is_not_asked() {
    let endpoint = Endpoint::start(|_| "done".into_response()).await;
    let careful = functions(UrlPolicy::default(), PATIENT);
    let arguments = Map::new();
    for url in [endpoint.url.clone(), endpoint.url.replace("http", "https")] {
        let answer = careful.call(&call(&url, Method::Get, &arguments)).await;
        assert!(answer.result.unwrap_err().starts_with("the function's URL must"), "{url}");
    }
    assert_eq!(endpoint.requests(), 0);
}
