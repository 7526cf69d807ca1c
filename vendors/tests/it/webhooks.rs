//! Telling webhooks, against receivers that answer whatever they like.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use futures_util::future::BoxFuture;
use futures_util::stream;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vendors::http::guard::{Names, SystemNames, UrlPolicy};
use vendors::webhooks::{MAX_ANSWER_BYTES, Telling, Told, Webhooks};

use crate::sdk::check;
use crate::support::{IMPATIENT, PATIENT};

const BODY: &str = r#"{"type":"call.ended","timestamp":"2026-02-02T02:40:00Z","data":{"word":"Zoë"}}"#;
const ID: &str = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";

type Answers = dyn Fn() -> BoxFuture<'static, Response> + Send + Sync;

/// Keeps what it is told.
struct Receiver {
    url: String,
    told: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    _end: DropGuard,
}

impl Receiver {
    async fn start(answers: impl Fn() -> BoxFuture<'static, Response> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
        let told: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
        let (answers, heard): (Arc<Answers>, _) = (Arc::new(answers), told.clone());
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            heard.lock().unwrap().push((headers, body));
            answers()
        });
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        TaskTracker::new()
            .spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended).await });
        Self { url, told, _end: end.drop_guard() }
    }

    async fn answering(answer: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        Self::start(move || {
            let answer = answer();
            Box::pin(async move { answer })
        })
        .await
    }

    fn told(&self) -> Vec<(HeaderMap, Bytes)> {
        self.told.lock().unwrap().clone()
    }
}

fn now() -> chrono::DateTime<Utc> {
    std::time::SystemTime::now().into()
}

fn webhooks(allow_private: bool, names: Arc<dyn Names>, time_limit: Duration) -> Webhooks {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Webhooks::new(UrlPolicy { allow_private }, &names, time_limit, now).unwrap()
}

fn secrets() -> [SecretString; 2] {
    [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ]
    .map(SecretString::from)
}

async fn tell(webhooks: &Webhooks, url: &str, secrets: &[SecretString]) -> Told {
    let telling = Telling { url, id: ID, at: now(), body: BODY, secrets };
    webhooks.tell(&telling).await.unwrap()
}

async fn told_by(url: &str, time_limit: Duration) -> Told {
    tell(&webhooks(true, Arc::new(SystemNames), time_limit), url, &secrets()).await
}

fn case(headers: &Value, body: &str, secret: &str, valid: bool) -> String {
    format!("{}\n", json!({ "headers": headers, "body": body, "secret": secret, "valid": valid }))
}

#[tokio::test]
async fn receivers_own_libraries_verify_what_we_send_with_each_of_the_secrets() {
    let receiver = Receiver::answering(|| "taken".into_response()).await;
    let told = told_by(&receiver.url, PATIENT).await;
    assert_eq!((told.status, told.error_code, told.answer.as_str()), (Some(200), None, "taken"));
    let (headers, body) = receiver.told().remove(0);
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("VocalBridge/"));
    assert_eq!((headers["webhook-id"].to_str().unwrap(), &body[..]), (ID, BODY.as_bytes()));
    let header = |name: &str| headers[name].to_str().unwrap();
    let sent = json!({
        "webhook-id": ID, "webhook-timestamp": header("webhook-timestamp"),
        "webhook-signature": header("webhook-signature"),
    });
    let mut lines: String =
        secrets().iter().map(|secret| case(&sent, BODY, secret.expose_secret(), true)).collect();
    lines += &case(&sent, BODY, "whsec_BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", false);
    lines += &case(&sent, &BODY.replace("ended", "begun"), secrets()[0].expose_secret(), false);
    for (name, value) in [("webhook-id", "another"), ("webhook-timestamp", "1700000000")] {
        let mut changed = sent.clone();
        changed[name] = json!(value);
        lines += &case(&changed, BODY, secrets()[0].expose_secret(), false);
    }
    let printed = check("check_webhooks.py", &[], &lines).await;
    assert_eq!(printed.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{printed}");
}

#[tokio::test]
async fn only_2xx_has_arrived_and_a_redirect_leads_nowhere() {
    let elsewhere = Receiver::answering(|| "never".into_response()).await;
    for (status, error_code) in [
        (200, None),
        (202, None),
        (204, None),
        (302, Some("http_302")),
        (307, Some("http_307")),
        (400, Some("http_400")),
        (410, Some("http_410")),
        (500, Some("http_500")),
    ] {
        let location = elsewhere.url.clone();
        let receiver = Receiver::answering(move || {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("location", location.clone())]).into_response()
        })
        .await;
        let told = told_by(&receiver.url, PATIENT).await;
        assert_eq!((told.status, told.error_code.as_deref()), (Some(status), error_code));
        assert_eq!(receiver.told().len(), 1, "{status}");
    }
    assert!(elsewhere.told().is_empty());
}

#[tokio::test]
async fn the_wish_to_be_left_alone_is_passed_on() {
    let receiver =
        Receiver::answering(|| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "17")]).into_response())
            .await;
    let told = told_by(&receiver.url, PATIENT).await;
    assert_eq!((told.status, told.retry_after), (Some(429), Some(Duration::from_secs(17))));
}

#[tokio::test]
async fn one_that_hangs_or_is_away_is_not_waited_for() {
    let hanging = Receiver::start(|| Box::pin(std::future::pending())).await;
    let told = told_by(&hanging.url, IMPATIENT).await;
    assert_eq!((told.status, told.error_code.as_deref()), (None, Some("timeout")));
    assert!(told.took >= IMPATIENT);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let told = told_by(&format!("http://{nobody}/"), PATIENT).await;
    assert_eq!(told.error_code.as_deref(), Some("connect"));
}

#[tokio::test]
async fn of_an_endless_answer_20_kb_are_kept_and_it_has_arrived() {
    let receiver = Receiver::answering(|| {
        let endless = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(b"0123456789")));
        Body::from_stream(endless).into_response()
    })
    .await;
    let told = told_by(&receiver.url, PATIENT).await;
    assert_eq!((told.error_code, told.answer.len(), told.answer_cut), (None, MAX_ANSWER_BYTES, true));
}

/// Every name leads to the receiver's own machine.
struct Inside;

impl Names for Inside {
    fn addresses(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_asked() {
    let receiver = Receiver::answering(|| "never".into_response()).await;
    let port = receiver.url.split(':').nth(2).unwrap().to_owned();
    let guarded = webhooks(false, Arc::new(Inside), PATIENT);
    for url in [format!("https://crm.example.com:{port}"), receiver.url.clone()] {
        let told = tell(&guarded, &url, &secrets()).await;
        assert_eq!(told.error_code.as_deref(), Some("url_refused"), "{url}");
    }
    assert!(receiver.told().is_empty());
}
