//! Gemini wants its thought signatures back.

use serde_json::{Value, json};

use crate::raw::*;
use crate::support::*;

/// A question, Gemini's call, and its result.
async fn called(simulator: &Simulator) -> Vec<Value> {
    let question = json!({"role": "user", "parts": [{"text": "What of INV-TC-001 and INV-TC-002?"}]});
    let (status, body) = post_json(simulator, GOOGLE, &contents(json!([question]))).await;
    assert_eq!(status, 200, "{body}");
    let call = body["candidates"][0]["content"].clone();
    let answers = call["parts"].as_array().unwrap().iter().map(|part| {
        let call = &part["functionCall"];
        let invoice = json!({"invoice_id": call["args"]["invoice_id"], "amount": "1.00", "status": "paid"});
        json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": {"output": invoice}}})
    });
    let answers = json!({"role": "user", "parts": answers.collect::<Vec<_>>()});
    vec![question, call, answers]
}

#[tokio::test]
async fn only_the_first_of_parallel_calls_is_signed() {
    let simulator = Simulator::start().await;
    let turns = called(&simulator).await;
    let parts = turns[1]["parts"].as_array().unwrap();
    let signed: Vec<_> = parts.iter().map(|part| part.get("thoughtSignature").is_some()).collect();
    assert_eq!(signed, [true, false]);
    let (status, body) = post_json(&simulator, GOOGLE, &contents(json!(turns))).await;
    assert_eq!(status, 200, "{body}");
    let text = body["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
    assert!(text.contains("INV-TC-001 is 1.00 USD") && text.contains("INV-TC-002 is 1.00 USD"), "{text}");
}

#[tokio::test]
async fn a_call_without_its_own_signature_is_refused() {
    let simulator = Simulator::start().await;
    let turns = called(&simulator).await;
    let signature = turns[1]["parts"][0]["thoughtSignature"].clone();
    // What is written on the two parts, and whether that passes.
    let cases = [
        ([None, None], 400),
        ([None, Some(&signature)], 400),
        ([Some(&signature), Some(&signature)], 400),
        ([Some(&json!("ffffffffffffffff")), None], 400),
        ([Some(&signature), None], 200),
        ([Some(&json!("skip_thought_signature_validator")), None], 200),
    ];
    for (signatures, expected) in cases {
        let mut turns = turns.clone();
        for (index, signature) in signatures.iter().enumerate() {
            let part = turns[1]["parts"][index].as_object_mut().unwrap();
            part.remove("thoughtSignature");
            part.extend(signature.map(|signature| ("thoughtSignature".to_owned(), signature.clone())));
        }
        let (status, body) = post_json(&simulator, GOOGLE, &contents(json!(turns))).await;
        assert_eq!(status, expected, "{signatures:?}: {body}");
    }
}

#[tokio::test]
async fn an_older_turn_may_have_lost_its_signature_but_not_have_a_wrong_one() {
    let simulator = Simulator::start().await;
    let mut turns = called(&simulator).await;
    turns.push(json!({"role": "model", "parts": [{"text": "They are paid."}]}));
    turns.push(json!({"role": "user", "parts": [{"text": "Thanks"}]}));
    turns[1]["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    assert_eq!(post_json(&simulator, GOOGLE, &contents(json!(turns))).await.0, 200);
    turns[1]["parts"][0]["thoughtSignature"] = json!("wrong");
    assert_eq!(post_json(&simulator, GOOGLE, &contents(json!(turns))).await.0, 400);
}
