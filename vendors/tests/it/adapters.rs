//! Both vendors' wire formats, spoken by us and understood by them.

use chrono::DurationRound;
use reqwest::Method;
use serde_json::{Value, json};
use vendors::llm::{AttemptOutcome, ChatMessage, ChatReply, DeltaSink, LlmVendors, ToolCall};
use vendors::simulator::count_tokens;

use crate::support::*;

const SYSTEM_TOKENS: u64 = 9; // "You are the assistant of TechCorp.", 34 characters

/// The reply of one vendor, and the text that streamed if it was asked to.
async fn reply(
    vendors: &LlmVendors,
    vendor: (&str, &str),
    messages: Vec<ChatMessage>,
    stream: bool,
) -> (ChatReply, String) {
    let (sink, mut deltas) = DeltaSink::channel(1000);
    let chain = [target(vendor.0, vendor.1)];
    let (result, _) = complete(vendors, &chain, &ask(messages), stream.then_some(&sink)).await;
    drop(sink);
    let mut streamed = String::new();
    while let Some(delta) = deltas.recv().await {
        streamed.push_str(&delta.text);
    }
    (result.unwrap().reply, streamed)
}

#[tokio::test]
async fn a_plain_reply_comes_whole_with_its_usage() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    for vendor in VENDORS {
        let (reply, streamed) = reply(&vendors, vendor, vec![user("Hello")], false).await;
        assert_eq!((reply.text.as_str(), streamed.as_str()), (GREETING, ""), "{vendor:?}");
        let usage = (reply.usage.tokens_in, reply.usage.tokens_out, reply.usage.estimated);
        assert_eq!(usage, (SYSTEM_TOKENS + 2, count_tokens(GREETING), false), "{vendor:?}");
        assert_eq!(simulator.log(vendor.0).await[0]["stream"], json!(false));
    }
}

#[tokio::test]
async fn a_streamed_reply_is_the_plain_one_in_pieces() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    for vendor in VENDORS {
        let (plain, _) = reply(&vendors, vendor, vec![user("Grüße, \"Łukasz\"\n☎")], false).await;
        let (whole, streamed) = reply(&vendors, vendor, vec![user("Grüße, \"Łukasz\"\n☎")], true).await;
        assert_eq!(whole, plain, "{vendor:?}");
        assert_eq!(streamed, plain.text, "{vendor:?}");
        assert!(plain.text.contains("Grüße, \"Łukasz\"\n☎"));
        assert_eq!(simulator.log(vendor.0).await[1]["stream"], json!(true));
    }
}

#[tokio::test]
async fn a_tool_call_goes_out_and_its_result_comes_back_in_words() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    for vendor in VENDORS {
        for stream in [false, true] {
            let mut messages = vec![user("What of INV-TC-001 and INV-TC-777?")];
            let (asked, streamed) = reply(&vendors, vendor, messages.clone(), stream).await;
            assert_eq!((asked.text.as_str(), streamed.as_str()), ("", ""));
            let calls: Vec<_> = asked.tool_calls.iter().map(|call| (&*call.name, &call.arguments)).collect();
            let arguments = [json!({"invoice_id": "INV-TC-001"}), json!({"invoice_id": "INV-TC-777"})];
            assert_eq!(
                calls,
                [("invoice_lookup", &arguments[0]), ("invoice_lookup", &arguments[1])],
                "{vendor:?}"
            );
            assert_ne!(asked.tool_calls[0].id, asked.tool_calls[1].id);
            assert_eq!(asked.usage.tokens_out, 2 * count_tokens(r#"{"invoice_id":"INV-TC-001"}"#));

            let result = |call: &ToolCall, content: Value, is_error| ChatMessage::ToolResult {
                call_id: call.id.clone(),
                name: call.name.clone(),
                content: content.to_string(),
                is_error,
            };
            let invoice = json!({"invoice_id": "INV-TC-001", "amount": "15000.00", "currency": "USD", "status": "paid",
                "description": "Annual Enterprise License"});
            let results = [
                result(&asked.tool_calls[0], invoice, false),
                result(&asked.tool_calls[1], json!({"error": "not_found"}), true),
            ];
            messages.push(ChatMessage::Assistant { content: String::new(), tool_calls: asked.tool_calls });
            messages.extend(results);
            let (said, streamed) = reply(&vendors, vendor, messages, stream).await;
            let expected = "Invoice INV-TC-001 for Annual Enterprise License is 15,000.00 USD and its status is paid. \
                I could not find invoice INV-TC-777.";
            assert!(said.text.starts_with(expected), "{vendor:?}: {}", said.text);
            assert!(said.tool_calls.is_empty());
            assert_eq!(streamed, if stream { said.text.clone() } else { String::new() });
        }
    }
}

#[tokio::test]
async fn an_attempt_is_reported_with_the_id_the_vendor_got() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    let (result, reports) = complete(&vendors, &chain(), &hello(), None).await;
    let completed = result.unwrap();
    assert_eq!(
        (completed.provider.as_str(), completed.model.as_str(), completed.attempts),
        ("vendor_a", "vendor-a-1", 1)
    );
    let [report] = &reports.0[..] else { unreachable!("{:?}", reports.0) };
    assert_eq!(report.outcome, AttemptOutcome::Succeeded);
    assert_eq!((report.number, report.status, &report.error, report.error_code), (1, Some(200), &None, None));
    assert_eq!((report.first_token, report.usage), (None, completed.reply.usage));
    assert_eq!(report.started_at, now().duration_trunc(chrono::TimeDelta::seconds(1)).unwrap());
    assert_eq!(report.attempt_id.get_version_num(), 7);
    let log = simulator.log("vendor_a").await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["request_id"], json!(report.attempt_id.to_string()));
    assert_eq!((&log[0]["model"], &log[0]["status"]), (&json!("vendor-a-1"), &json!(200)));
    assert_eq!(log[0]["body"]["turns"], json!([{"role": "user", "text": "Hello"}]));
}

#[tokio::test]
async fn a_target_without_a_model_uses_the_requests() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    let mut request = hello();
    request.model = "vendor-b-large".to_owned();
    let (result, reports) = complete(&vendors, &[target("vendor_b", "")], &request, None).await;
    assert_eq!(result.unwrap().model, "vendor-b-large");
    assert_eq!(reports.0[0].model, "vendor-b-large");
}

#[tokio::test]
async fn a_limit_on_the_output_reaches_the_vendor() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    for vendor in VENDORS {
        let mut request = hello();
        request.max_output_tokens = Some(2);
        let (result, _) = complete(&vendors, &[target(vendor.0, vendor.1)], &request, None).await;
        assert_eq!(result.unwrap().reply.usage.tokens_out, 2, "{vendor:?}");
    }
}

#[tokio::test]
async fn connections_are_kept_for_the_next_call() {
    let simulator = Simulator::start().await;
    // The vendor's log does not show connections, so the vendor is put behind a relay that counts them.
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (relay.local_addr().unwrap(), simulator.address);
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = connections.clone();
    let tracker = tokio_util::task::TaskTracker::new();
    let tasks = tracker.clone();
    tracker.spawn(async move {
        loop {
            let (mut from, _) = relay.accept().await.unwrap();
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tasks.spawn(async move {
                let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    let vendors = vendors_at(address, |_| {});
    simulator.control("vendor_a", json!({"failure_rate": 0.5})).await;
    let (sink, mut deltas) = DeltaSink::channel(1000);
    for round in 0..20 {
        for (provider, model) in VENDORS {
            complete(&vendors, &[target(provider, model)], &hello(), (round % 2 == 0).then_some(&sink))
                .await
                .0
                .ok();
            while deltas.try_recv().is_ok() {}
        }
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 1);
    let (status, _) = simulator.request(Method::DELETE, "/_control/vendor_a", None).await;
    assert!(status.is_success());
}
