//! The service itself: state, metrics, documents, and what surrounds every answer.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::client::Answer;
use tests::process::serve;
use tests::world::{free_port, ready};
use tests::{Client, World, eventually};

async fn option(client: &Client, origin: &str) -> Answer {
    let request = client
        .request(Method::OPTIONS, "/api/agents")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "x-api-key, content-type, idempotency-key");
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn the_service_says_what_it_is_and_how_it_is() {
    let (world, client) = World::start().await;
    // Nobody needs a key for these.
    let client = client.with_key("");
    let root = client.get("/").await;
    assert_eq!((root.status, root.text("name")), (StatusCode::OK, "VocalBridge"));
    for link in ["openapi", "docs", "redoc", "health", "metrics"] {
        let path = root.body["links"][link].as_str().unwrap().splitn(4, '/').nth(3).unwrap().to_owned();
        assert_eq!(client.get(&format!("/{path}")).await.status, StatusCode::OK, "{link}");
    }
    assert_eq!(client.get("/ready").await.status, StatusCode::OK);
    assert_eq!(client.get("/live").await.status, StatusCode::OK);
    let health = client.get("/health").await;
    assert_eq!((health.status, health.text("status")), (StatusCode::OK, "ok"), "{health:?}");
    let dependencies = &health.body["dependencies"];
    assert_eq!(
        (&dependencies["nats"]["status"], &dependencies["postgres"]["status"]),
        (&json!("ok"), &json!("ok"))
    );
    let projections = dependencies["projections"].as_array().unwrap();
    assert!(projections.len() >= 7 && projections.iter().all(|one| one["status"] == "ok"), "{health:?}");
    drop(world);
}

#[tokio::test]
async fn health_names_the_dependency_that_is_away() {
    let (mut world, client) = World::start().await;
    world.services.postgres.kill().await.unwrap();
    let health = client.get("/health").await;
    assert_eq!((health.status.as_u16(), health.text("status")), (503, "down"), "{health:?}");
    let dependencies = &health.body["dependencies"];
    assert_eq!(
        (&dependencies["postgres"]["status"], &dependencies["nats"]["status"]),
        (&json!("down"), &json!("ok"))
    );
    assert_eq!(client.get("/live").await.status, StatusCode::OK, "the process itself is alive");
    let listed = client.get("/api/sessions").await;
    listed.assert_problem(503, "unavailable", "a list without its table");
    assert!(!listed.header("retry-after").is_empty(), "{listed:?}");
    world.services.postgres.start_again().await.unwrap();
    ready(&client).await;
    eventually("health after the return", Duration::from_secs(20), async || {
        (client.get("/health").await.text("status") == "ok").then_some(())
    })
    .await;
}

/// The projections commit without waiting for the disk, since the log can give all back; so it must, unasked.
#[tokio::test]
async fn what_postgres_forgets_in_a_crash_comes_back_by_itself() {
    let (mut world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    client.say(&session, "Hello").await;
    let before = client.get(&format!("/api/sessions/{session}")).await;
    assert_eq!(before.body["messages"].as_array().unwrap().len(), 2, "{before:?}");
    world.services.postgres.kill().await.unwrap();
    world.services.postgres.start_again().await.unwrap();
    eventually("the transcript's return", Duration::from_secs(20), async || {
        let after = client.get(&format!("/api/sessions/{session}")).await;
        (after.body == before.body).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_our_counters() {
    let mut world = World::services().await;
    let (_process, client) = serve(&mut world).await;
    let session = client.session(&world.agent(0, 0)).await;
    client.say(&session, "Hello").await;
    client.get("/nowhere/42").await;
    // How far behind the projections are is measured every few seconds.
    let metrics = eventually("a measured lag", Duration::from_secs(20), async || {
        let metrics = client.get("/metrics").await;
        metrics.body.as_str()?.contains("vocalbridge_projection_lag_events").then_some(metrics)
    })
    .await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"), "{metrics:?}");
    let text = metrics.body.as_str().unwrap();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with("vocalbridge_"), "{line}");
        let mut labels = name.split_once('{').map_or("", |(_, labels)| labels).split(',');
        assert!(!labels.any(|label| label.contains(&session) || label.contains("42\"")), "unbounded: {line}");
    }
    for sample in [
        "vocalbridge_http_requests_total{method=\"POST\",route=\"/api/sessions/{id}/messages\",status=\"200\"} 1",
        "vocalbridge_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "# TYPE vocalbridge_http_request_duration_seconds ",
        "vocalbridge_vendor_attempts_total{vendor=\"vendor_a\",endpoint=\"1\",outcome=\"succeeded\"} 1",
        "# TYPE vocalbridge_vendor_attempt_duration_seconds ",
        "# TYPE vocalbridge_worker_deliveries_total counter",
        "# TYPE vocalbridge_projection_lag_events gauge",
    ] {
        assert!(text.contains(sample), "no {sample} in\n{text}");
    }
}

#[tokio::test]
async fn a_process_without_the_api_tells_how_it_is_on_a_port_of_its_own() {
    let port = free_port();
    let mut world = World::with_environment(&[("VOCALBRIDGE_MONITORING_PORT", &port.to_string())]).await;
    let _process = world.spawn("workers,projections", 0);
    let monitor = world.client(&format!("http://127.0.0.1:{port}"), 0);
    ready(&monitor).await;
    let health = monitor.get("/health").await;
    assert_eq!((health.status, health.text("status")), (StatusCode::OK, "ok"), "{health:?}");
    let metrics = monitor.get("/metrics").await;
    assert!(metrics.body.as_str().unwrap().contains("# TYPE vocalbridge_"), "{metrics:?}");
    monitor.get("/api/agents").await.assert_problem(404, "not_found", "the api is elsewhere");
}

/// What a page makes a browser fetch: `src`, `href`, `action`, `srcset`, `url(…)` and imports.
fn fetched(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["src=", "href=", "action=", "srcset=", "spec-url=", "url(", "@import ", "import("] {
        for (position, _) in page.match_indices(attribute) {
            let rest = page[position + attribute.len()..].trim_start_matches(['"', '\'', ' ']);
            found.push(rest.split(['"', '\'', ' ', '>', ')']).next().unwrap().to_owned());
        }
    }
    found
}

#[tokio::test]
async fn the_documents_come_from_here_and_ask_nobody_else() {
    let (_world, client) = World::start().await;
    let client = client.with_key("");
    let document = client.get("/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    assert!(document.text("openapi").starts_with("3."), "{}", document.body["openapi"]);

    for (page, base) in [("/docs/", "/docs/"), ("/redoc", "/")] {
        let answer = client.get(page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        assert!(answer.header("content-type").starts_with("text/html"), "{answer:?}");
        let html = answer.body.as_str().unwrap();
        let links = fetched(html);
        assert!(links.iter().any(|link| link.ends_with(".js")), "{page}: {links:?}");
        for link in links {
            assert!(!link.contains("//"), "{page} leads to {link}");
            let path =
                if link.starts_with('/') { link } else { format!("{base}{}", link.trim_start_matches("./")) };
            let part = client.get(&path).await;
            assert_eq!(part.status, StatusCode::OK, "{page} needs {path}");
            // The bundles themselves name many addresses; what starts them must name ours alone.
            if path.contains("initializer") || path.ends_with(".css") {
                let text = part.body.as_str().unwrap();
                assert!(
                    fetched(text).iter().all(|link| !link.starts_with("http") && !link.starts_with("//")),
                    "{path}"
                );
            }
            if path.contains("initializer") {
                let text = part.body.as_str().unwrap();
                assert!(text.contains("/openapi.json") && !text.contains("https://"), "{text}");
            }
        }
        assert!(!html.contains("https://") && !html.contains("http://"), "{page}: {html}");
    }
    // ReDoc's bundle would fetch a logo: the browser is told not to.
    assert!(client.get("/redoc").await.header("content-security-policy").starts_with("default-src 'self'"));
}

#[tokio::test]
async fn a_correlation_id_and_a_trace_go_through_everything() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("X-Correlation-ID", "order-17/a:b"), ("traceparent", trace)];
    let path = format!("/api/sessions/{session}/messages");
    let answer = client.post_with(&path, &json!({ "content": "Hello" }), &headers).await;
    assert_eq!(answer.text("correlation_id"), "order-17/a:b");
    let refused = client.post_with(&path, &json!({ "content": "" }), &headers).await;
    refused.assert_problem(422, "validation_failed", "blank");
    let unknown = client.post_with("/nowhere", &json!({}), &headers).await;
    unknown.assert_problem(404, "not_found", "nowhere");
    for answer in [&answer, &refused, &unknown] {
        assert_eq!(answer.header("x-correlation-id"), "order-17/a:b", "{answer:?}");
        assert_eq!(answer.header("traceparent"), trace, "{answer:?}");
    }
    let calls = client.get("/api/provider-calls?correlation_id=order-17/a:b").await;
    assert_eq!(calls.rows().len(), 1);
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    for message in transcript.body["messages"].as_array().unwrap() {
        assert_eq!(message["correlation_id"], "order-17/a:b");
    }
    // Not sent, it is made, and another for each request.
    let (one, next) = (client.get("/api/agents").await, client.get("/api/agents").await);
    assert_ne!(one.header("x-correlation-id"), next.header("x-correlation-id"));
    assert_eq!(one.header("x-correlation-id").len(), 36);
}

#[tokio::test]
async fn only_the_named_origins_may_call_from_a_browser() {
    let (_world, client) =
        World::start_with(&[("CORS_ORIGINS", "https://app.example, https://other.example")]).await;
    for origin in ["https://app.example", "https://other.example"] {
        let answer = option(&client, origin).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(answer.header("access-control-allow-methods").contains("POST"), "{answer:?}");
        for name in ["x-api-key", "content-type", "idempotency-key"] {
            assert!(answer.header("access-control-allow-headers").contains(name), "{name}: {answer:?}");
        }
        // A page reads refusals as well.
        let refused = client.with_key("wrong").request(Method::GET, "/api/agents").header("Origin", origin);
        let refused = client.send(refused).await.unwrap();
        refused.assert_problem(401, "invalid_api_key", origin);
        assert_eq!(refused.header("access-control-allow-origin"), origin);
        assert!(refused.header("access-control-expose-headers").contains("x-correlation-id"), "{refused:?}");
    }
    for origin in ["https://evil.example", "http://app.example", "null"] {
        let answer = option(&client, origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}: {answer:?}");
    }
}
