//! What the README promises: one message through everything.

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::json;
use tests::World;

#[tokio::test]
async fn a_question_about_an_invoice_is_answered_from_the_tenants_own() {
    let (world, client) = World::start().await;
    let agents = client.get("/api/agents").await;
    assert_eq!(agents.body.as_array().unwrap().len(), 3);

    let session = client.session(&world.agent(0, 1)).await;
    let answer = client.say(&session, "What is the status of invoice INV-TC-001?").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let content = answer.text("content");
    assert!(content.contains("15,000.00") && content.contains("paid"), "{content}");
    assert_eq!(answer.body["tools_called"], json!(["invoice_lookup"]));
    assert_eq!(answer.text("role"), "assistant");
    assert_eq!(answer.text("correlation_id"), answer.header("x-correlation-id"));

    // VendorA: 0.002 USD per 1,000 tokens in and out, over both rounds.
    let tokens = answer.body["tokens_in"].as_u64().unwrap() + answer.body["tokens_out"].as_u64().unwrap();
    let cost: Decimal = answer.text("cost_usd").parse().unwrap();
    assert_eq!(cost, Decimal::from(tokens) * Decimal::new(2, 6));

    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    let messages = transcript.body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2, "{transcript:?}");
    assert_eq!(messages[1]["content"], content);

    let correlation = answer.text("correlation_id");
    let calls = client.get(&format!("/api/provider-calls?correlation_id={correlation}")).await;
    assert_eq!(calls.body.as_array().unwrap().len(), 2, "{calls:?}");
    let tools = client.get("/api/tool-executions").await;
    assert_eq!(tools.body.as_array().unwrap().len(), 1, "{tools:?}");
    let job = client.get(&format!("/api/jobs/{}", answer.text("job_id"))).await;
    assert_eq!(job.body["result"], answer.body);

    let usage = client.get("/api/analytics/usage?start_date=2020-01-01&end_date=2100-01-01").await;
    assert_eq!(usage.body["total_cost_usd"], answer.body["cost_usd"], "{usage:?}");
    assert_eq!(usage.body["total_messages"], 1);
}

#[tokio::test]
async fn another_tenants_agent_does_not_find_the_invoice() {
    let (world, client) = World::start().await;
    let client = client.with_key(&world.tenant(1).api_key);
    let session = client.session(&world.agent(1, 0)).await;
    let answer = client.say(&session, "What is the status of invoice INV-TC-001?").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.text("content").contains("15,000.00"), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_does_not_wait_gets_a_job() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    let request = client
        .request(Method::POST, &format!("/api/sessions/{session}/messages"))
        .header("Prefer", "respond-async")
        .json(&json!({ "content": "Hello" }));
    let accepted = client.send(request).await.unwrap();
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let location = accepted.header("location").to_owned();
    let job = tests::eventually("the end of the job", std::time::Duration::from_secs(20), async || {
        let job = client.get(&location).await;
        (job.text("status") == "succeeded").then_some(job)
    })
    .await;
    assert_eq!(job.body["result"]["role"], "assistant");
}
