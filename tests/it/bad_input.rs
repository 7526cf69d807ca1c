//! Whatever is sent, the answer is a 4xx with a stable code that names the mistake, and nothing is changed by it.

mod bodies;
mod headers;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::client::Answer;
use tests::openapi::routes;
use tests::process::serve;
use tests::{Client, Process, World, raw};

const UNKNOWN: &str = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
const REQUESTS: &str = "vocalbridge_http_requests_total{";
const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn send(client: &Client, method: &Method, path: &str, body: &[u8]) -> Answer {
    let length = body.len().to_string();
    raw::send(client, &format!("{method} {path}"), &[JSON, ("Content-Length", &length)], body).await
}

/// The system in a process of its own, whose log and metrics tell of every panic and every 5xx.
struct Patient {
    world: World,
    process: Process,
    client: Client,
    session: String,
}

impl Patient {
    async fn new() -> Self {
        let mut world = World::services().await;
        let (process, client) = serve(&mut world).await;
        let session = client.session(&world.agent(0, 0)).await;
        Self { world, process, client, session }
    }

    /// After all the nonsense: the session answers and knows of nothing else, and nothing has broken.
    async fn is_unharmed(&self) {
        let Self { process, client, session, .. } = self;
        let answer = client.say(session, "Hello").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let transcript = client.get(&format!("/api/sessions/{session}")).await;
        let messages = transcript.body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 2, "{transcript:?}");
        assert_eq!(
            (&messages[0]["content"], &messages[1]["content"]),
            (&json!("Hello"), &answer.body["content"])
        );
        assert_eq!(client.get("/health").await.text("status"), "ok");
        let metrics = client.get("/metrics").await;
        let counters = || metrics.body.as_str().unwrap().lines().filter(|line| line.starts_with(REQUESTS));
        assert!(counters().any(|line| line.contains("status=\"200\"")), "{metrics:?}");
        let failed = |line: &&str| line.contains("status=\"5") && !line.contains("route=\"/ready\"");
        let failures: Vec<&str> = counters().filter(failed).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        let log = process.output();
        let broken: Vec<&str> =
            log.lines().filter(|line| line.contains("panicked") || line.contains("\"ERROR\"")).collect();
        assert!(broken.is_empty() && log.contains("\"INFO\""), "{broken:#?}");
    }
}

#[tokio::test]
async fn what_is_no_id_is_not_found() {
    let patient = Patient::new().await;
    let Patient { client, session, .. } = &patient;
    let broken = r"\ . .. * %20 a%20b %00 %2e %2E%2E %2F %2a %3E %ff %C3%BC %F0%9F%98%80 0 -1 null '%20or%201=1-- $SYS a.b.c
        {session}%00 {session}. {session}.* %20{session} urn:uuid:{session} %7B{session}%7D {bare} {endless}";
    let broken = broken.replace("{session}", session).replace("{bare}", &session.replace('-', ""));
    let broken = broken.replace("{endless}", &"a".repeat(10_000));
    for route in routes(client).await.iter().filter(|route| route.has_id() && !route.is_operators()) {
        for id in broken.split_whitespace() {
            let answer = send(client, &route.method, &route.with_id(id), b"{\"content\": \"Hello\"}").await;
            answer.assert_problem(404, "not_found", &format!("{route} {id:.60}"));
        }
        client.try_route(route, UNKNOWN).await.assert_problem(
            404,
            "not_found",
            &format!("{route} of nobody"),
        );
    }
    let nowhere = json!({ "agent_id": UNKNOWN, "customer_id": "c" });
    client.post("/api/sessions", nowhere).await.assert_problem(404, "not_found", "an unknown agent");
    patient.is_unharmed().await;
}

#[tokio::test]
async fn methods_and_routes_that_are_not_offered_are_named_as_such() {
    let patient = Patient::new().await;
    let Patient { client, session, .. } = &patient;
    let routes = routes(client).await;
    for route in &routes {
        let path = route.with_id(session);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if routes.iter().any(|other| other.path == route.path && other.method == method) {
                continue;
            }
            let answer = raw::send(client, &format!("{method} {path}"), &[], b"").await;
            answer.assert_problem(405, "method_not_allowed", &format!("{method} {path}"));
            assert!(answer.header("allow").contains(route.method.as_str()), "{answer:?}");
        }
    }
    for path in [
        "/nowhere",
        "/api",
        "/api/",
        "/api/agents/",
        "/api//agents",
        "/API/agents",
        "/api/agents/a/b",
        "/%00",
        "/../etc/passwd",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            raw::send(client, &format!("{method} {path}"), &[], b"").await.assert_problem(
                404,
                "not_found",
                path,
            );
        }
    }
    patient.is_unharmed().await;
}

/// Refused before anything of ours is asked, and explained all the same.
#[tokio::test]
async fn a_request_that_is_not_http_is_refused_like_any_other() {
    let patient = Patient::new().await;
    let client = &patient.client;
    let endless = "x".repeat(1_000_000);
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let cases = [
        ("GET /api/sessions/> HTTP/1.1", 400, "bad_request"),
        ("GET /api/sessions/a b HTTP/1.1", 400, "bad_request"),
        ("GET /api/agents?after=\"> HTTP/1.1", 400, "bad_request"),
        ("nonsense", 400, "bad_request"),
        ("\0", 400, "bad_request"),
        ("GET / HTTP/9.9", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nno colon", 400, "bad_request"),
        ("GET / HTTP/1.1\r\na b: c", 400, "bad_request"),
        ("POST / HTTP/1.1\r\nContent-Length: -1", 400, "bad_request"),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", 400, "bad_request"),
        (&format!("GET / HTTP/1.1\r\n{many}x: y"), 431, "headers_too_large"),
        (&format!("GET / HTTP/1.1\r\nX-API-Key: {endless}"), 431, "headers_too_large"),
        (&format!("GET /{} HTTP/1.1", &endless[..66_000]), 414, "uri_too_long"),
    ];
    for (head, status, code) in cases {
        let answer = raw::send_bytes(client, format!("{head}\r\n\r\n").as_bytes()).await;
        answer.assert_problem(status, code, &format!("{head:.60}"));
        assert_eq!(answer.header("connection"), "close", "{answer:?}");
    }
    patient.is_unharmed().await;
}
