//! Keys, parameters and headers.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::openapi::routes;
use tests::{eventually, raw};

use super::Patient;

#[tokio::test]
async fn a_key_that_opens_nothing_is_refused() {
    let patient = Patient::new().await;
    let Patient { client, session, .. } = &patient;
    let right = client.key().to_owned();
    let last = if right.ends_with('0') { '1' } else { '0' };
    let tampered = format!("{}{last}", &right[..right.len() - 1]);
    let endless = format!("vb_test_a_{}", "x".repeat(10_000));
    let operator = patient.world.credentials.operator_key.clone();
    let revoked = client.post("/api/keys", json!({ "name": "k", "role": "admin" })).await;
    let expiring = DateTime::<Utc>::from(SystemTime::now() + Duration::from_secs(1));
    let expiring =
        client.post("/api/keys", json!({ "name": "k", "role": "admin", "expires_at": expiring })).await;
    assert_eq!(client.with_key(revoked.text("api_key")).get("/api/agents").await.status, StatusCode::OK);
    let path = format!("/api/keys/{}", revoked.text("id"));
    let gone = client.send(client.request(Method::DELETE, &path)).await.unwrap();
    assert_eq!(gone.body, json!({ "deleted": true }), "{gone:?}");
    let again = client.send(client.request(Method::DELETE, &path)).await.unwrap();
    again.assert_problem(404, "not_found", "revoked twice");
    eventually("the end of a key's time", Duration::from_secs(10), async || {
        let answer = client.with_key(expiring.text("api_key")).get("/api/agents").await;
        (answer.status != StatusCode::OK).then_some(())
    })
    .await;

    let wrong = [
        "",
        " ",
        "nonsense",
        "vb_",
        "vb_test_a_b",
        "*",
        ">",
        ".",
        "vb_*_>_.",
        "\u{fc}",
        &tampered,
        &right.to_uppercase(),
        &right[..right.len() - 1],
        &endless,
        revoked.text("api_key"),
        expiring.text("api_key"),
        "wrong-operator-key-0123456789",
    ];
    for route in routes(client).await.iter().filter(|route| route.is_api()) {
        let path = route.with_id(session);
        let bare = raw::send_bytes(
            client,
            format!("{} {path} HTTP/1.1\r\nConnection: close\r\n\r\n", route.method).as_bytes(),
        )
        .await;
        bare.assert_problem(401, "missing_api_key", &format!("{route} without a key"));
        assert_eq!(bare.header("www-authenticate"), "Bearer");
    }
    for key in wrong {
        for path in ["/api/agents", "/api/tenants"] {
            let answer = client.with_key(key).get(path).await;
            let code = if key == "\u{fc}" { "missing_api_key" } else { "invalid_api_key" };
            answer.assert_problem(401, code, &format!("{path} {key:.60}"));
        }
    }
    for (value, status, code) in [
        (format!("Bearer {tampered}"), 401, "invalid_api_key"),
        (format!("Basic {right}"), 401, "missing_api_key"),
        (right.clone(), 401, "missing_api_key"),
        (format!("Bearer {operator}"), 403, "forbidden"),
    ] {
        let request =
            format!("GET /api/agents HTTP/1.1\r\nConnection: close\r\nAuthorization: {value}\r\n\r\n");
        raw::send_bytes(client, request.as_bytes()).await.assert_problem(status, code, &value);
    }
    let bearer =
        format!("GET /api/agents HTTP/1.1\r\nConnection: close\r\nAuthorization: bearer {right}\r\n\r\n");
    assert_eq!(raw::send_bytes(client, bearer.as_bytes()).await.status, StatusCode::OK);
    patient.is_unharmed().await;
}

#[tokio::test]
async fn parameters_and_headers_that_make_no_sense_are_refused_or_replaced() {
    let patient = Patient::new().await;
    let Patient { client, session, .. } = &patient;
    let lists = routes(client)
        .await
        .into_iter()
        .filter(|route| route.is_list() && !route.has_id() && !route.is_operators());
    let paths: Vec<String> = lists.map(|route| route.path).collect();
    for path in &paths {
        for (query, code, field) in [
            ("limit=0", "validation_failed", "limit"),
            ("limit=-1", "validation_failed", "limit"),
            ("limit=1001", "validation_failed", "limit"),
            ("limit=99999999999999999999", "validation_failed", "limit"),
            ("limit=ten", "validation_failed", "limit"),
            ("limit=1e2", "validation_failed", "limit"),
            ("limit=", "validation_failed", "limit"),
            ("limt=5", "unknown_field", "limt"),
            ("after=*", "validation_failed", "after"),
            ("after=%00", "validation_failed", "after"),
            ("after=%ff", "validation_failed", "after"),
        ] {
            let (code, field) = match path.as_str() {
                // They have no pages.
                "/api/analytics/top-agents" | "/api/models" | "/api/tools" if field == "after" => {
                    ("unknown_field", "after")
                }
                _ => (code, field),
            };
            let answer = client.get(&format!("{path}?{query}")).await;
            answer.assert_problem(422, code, &format!("{path}?{query}"));
            assert_eq!(answer.fields(), [field], "{answer:?}");
        }
    }
    let usage = "/api/analytics/usage";
    for (path, query, field) in [
        (usage, "start_date=yesterday", "start_date"),
        (usage, "start_date=2026-13-01", "start_date"),
        (usage, "end_date=2026-02-30", "end_date"),
        (usage, "end_date=%2B262142-12-31", "end_date"),
        (usage, "start_date=%00", "start_date"),
        (usage, "start_date=2026-02-02&end_date=2026-01-01", "start_date"),
        ("/api/provider-calls", "session_id=*", "session_id"),
        ("/api/tool-executions", "job_id=a%20b", "job_id"),
        ("/api/provider-calls", "correlation_id=a%00b", "correlation_id"),
    ] {
        let answer = client.get(&format!("{path}?{query}")).await;
        answer.assert_problem(422, "validation_failed", &format!("{path}?{query}"));
        assert_eq!(answer.fields(), [field], "{answer:?}");
    }
    for query in ["start_date=0000-01-01&end_date=9999-12-31", "start_date=0001-01-01T00:00:00Z"] {
        assert_eq!(client.get(&format!("{usage}?{query}")).await.status, StatusCode::OK, "{query}");
    }

    let messages = format!("/api/sessions/{session}/messages");
    for key in ["", "\"\"", "\"half", "two words", "\u{fc}", &"x".repeat(256)] {
        let answer =
            client.post_with(&messages, &json!({ "content": "Hello" }), &[("Idempotency-Key", key)]).await;
        answer.assert_problem(400, "invalid_idempotency_key", key);
    }
    for position in ["*", "7", "0:-1", "99:1", "x:y"] {
        let path = format!("/api/sessions/{session}/events");
        let request = client.request(Method::GET, &path).header("Last-Event-ID", position);
        client.send(request).await.unwrap().assert_problem(422, "validation_failed", position);
    }
    // What only helps to find things again never stops a request.
    for (name, value) in [
        ("X-Correlation-ID", "two words"),
        ("X-Correlation-ID", ""),
        ("X-Correlation-ID", "\u{fc}"),
        ("X-Correlation-ID", &"x".repeat(129)),
        ("traceparent", "nonsense"),
        ("traceparent", "\u{fc}"),
        ("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
    ] {
        let answer =
            client.send(client.request(Method::GET, "/api/agents").header(name, value)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{name}: {value}");
        assert!(answer.header("x-correlation-id").len() == 36, "{answer:?}");
        assert!(
            answer.header("traceparent").len() == 55 && answer.header("traceparent") != value,
            "{answer:?}"
        );
    }
    patient.is_unharmed().await;
    for prefer in ["wait=soon", "wait=-1", "nonsense;;=", ",", "\u{fc}"] {
        let answer = client.post_with(&messages, &json!({ "content": "Hello" }), &[("Prefer", prefer)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{prefer}: {answer:?}");
    }
}
