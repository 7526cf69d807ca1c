//! Whose call it is to a number, and whose word is believed.

use std::time::Duration;

use events::{Aggregate, Payload, TenantId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::eventually;
use tests::twilio::{INCOMING, NUMBER, STATUS, TOKEN, Twilio, assign, incoming, sign};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn only_what_the_account_has_signed_is_believed() {
    let twilio = Twilio::with_number().await;
    let good = incoming("CA1");
    let signature = sign(TOKEN, INCOMING, &good);
    let changed = |name: &'static str, value: &str| {
        let mut changed = good.clone();
        changed.insert(name, value.to_owned());
        changed
    };
    let mut missing = good.clone();
    missing.remove("CallerCity");
    let foreign = format!("AC{}", "1".repeat(32));
    for form in [
        changed("From", "+14155559998"),
        changed("From", "+14155559999 "),
        changed("To", "+14155550101"),
        changed("CallSid", "CA2"),
        changed("Extra", ""),
        changed("AccountSid", &foreign),
        missing,
    ] {
        let (status, body) = twilio.post(INCOMING, &form, &signature).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{form:?}: {body}");
        assert!(body.contains("invalid_signature"), "{body}");
    }
    for wrong in ["", "AAAA", &sign("another token", INCOMING, &good), &sign(TOKEN, STATUS, &good)] {
        assert_eq!(twilio.post(INCOMING, &good, wrong).await.0, StatusCode::FORBIDDEN, "{wrong}");
        assert_eq!(
            twilio.post(STATUS, &changed("CallStatus", "completed"), wrong).await.0,
            StatusCode::FORBIDDEN
        );
    }
    let with_query = format!("{INCOMING}?returns=20");
    assert_eq!(twilio.post(&with_query, &good, &signature).await.0, StatusCode::FORBIDDEN);
    assert_eq!(twilio.post(INCOMING, &good, &signature).await.0, StatusCode::OK);
}

#[tokio::test]
async fn calls_that_nobody_can_take_are_refused_in_words() {
    let twilio = Twilio::start(&[]).await;
    let (status, twiml) = twilio.signed(INCOMING, &incoming("CA1")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(twiml.contains("not in service") && twiml.contains("<Hangup/>"), "{twiml}");

    assert_eq!(assign(&twilio.client, NUMBER, &twilio.world.agent(0, 0)).await.status, StatusCode::OK);
    let path = format!("/api/agents/{}", twilio.world.agent(0, 0));
    let off = twilio.client.request(Method::PATCH, &path).json(&json!({ "is_active": false }));
    assert_eq!(twilio.client.send(off).await.unwrap().status, StatusCode::OK);
    eventually("the agent to be off", LIMIT, async || {
        let (_, twiml) = twilio.signed(INCOMING, &incoming("CA2")).await;
        twiml.contains("Nobody can take your call").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unassigned_number_is_the_default_tenants_and_its_first_agent_answers() {
    let mut twilio = Twilio::start_with(&[], |world, system| {
        system.settings.telephony.default_tenant_id = Some(TenantId(world.tenant(1).id.0));
    })
    .await;
    twilio.stream_token("CA1").await;
    let call_id = twilio.calls.begun().await;
    let Payload::CallStarted(started) = twilio.history(1, call_id).await.remove(0) else { panic!() };
    assert_eq!(started.agent_id.to_string(), twilio.world.agent(1, 0));
}

#[tokio::test]
async fn a_tenants_own_account_signs_for_its_numbers() {
    let twilio = Twilio::with_number().await;
    let own = format!("AC{}", "a".repeat(32));
    let account = json!({ "account_sid": own, "auth_token": "a token that is long enough" });
    let set = twilio.client.request(Method::PUT, "/api/telephony/twilio").json(&account);
    let set = twilio.client.send(set).await.unwrap();
    assert_eq!((set.status, set.text("auth_token")), (StatusCode::OK, "••••ough"), "{set:?}");
    assert_eq!(twilio.client.get("/api/telephony/twilio").await.body, set.body);

    let mut form = incoming("CA1");
    assert_eq!(
        twilio.signed(INCOMING, &form).await.0,
        StatusCode::OK,
        "not in service on the installation's"
    );
    form.insert("AccountSid", own);
    let signature = sign("a token that is long enough", INCOMING, &form);
    let (status, twiml) = twilio.post(INCOMING, &form, &signature).await;
    assert_eq!(status, StatusCode::OK);
    assert!(twiml.contains("<Connect>"), "{twiml}");
    assert_eq!(twilio.post(INCOMING, &form, &sign(TOKEN, INCOMING, &form)).await.0, StatusCode::FORBIDDEN);

    let events = twilio.world.connect().await;
    let telephony = Aggregate::telephony(TenantId(twilio.world.tenant(0).id.0));
    let history = format!("{:?}", events.nats.log.read(&telephony, 0).await.unwrap());
    assert!(!history.contains("long enough"), "the token stands nowhere in the open");
    let removed = twilio.client.request(Method::DELETE, "/api/telephony/twilio");
    assert_eq!(twilio.client.send(removed).await.unwrap().status, StatusCode::OK);
    assert_eq!(twilio.client.get("/api/telephony/twilio").await.body["account_sid"], Value::Null);
}

#[tokio::test]
async fn a_number_has_one_holder_on_one_account_and_can_be_moved_and_released() {
    let twilio = Twilio::with_number().await;
    let other = twilio.world.client(&twilio.client.url(""), 1);
    let taken = assign(&other, NUMBER, &twilio.world.agent(1, 0)).await;
    taken.assert_problem(409, "number_taken", "another tenant's number");
    assign(&other, "+14155550101", &twilio.world.agent(0, 0)).await.assert_problem(
        404,
        "not_found",
        "an agent of another",
    );

    let moved = assign(&twilio.client, NUMBER, &twilio.world.agent(0, 2)).await;
    assert_eq!(moved.text("agent_id"), twilio.world.agent(0, 2));
    assign(&twilio.client, "+14155550102", &twilio.world.agent(0, 0)).await;
    let listed = twilio.client.get("/api/phone-numbers").await;
    let numbers: Vec<_> = listed.rows().iter().map(|row| row["number"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["+14155550102", NUMBER]);
    assert_eq!(listed.rows()[1], moved.body);
    assert_eq!(other.get("/api/phone-numbers").await.rows().len(), 0);
    for wrong in ["14155550100", "+1", "+abc", "%2B0123456789"] {
        assign(&twilio.client, wrong, &twilio.world.agent(0, 0)).await.assert_problem(
            404,
            "not_found",
            wrong,
        );
    }

    let path = format!("/api/phone-numbers/{NUMBER}");
    let foreign = other.send(other.request(Method::DELETE, &path)).await.unwrap();
    foreign.assert_problem(404, "not_found", "another tenant's number");
    let released = twilio.client.send(twilio.client.request(Method::DELETE, &path)).await.unwrap();
    assert_eq!(released.body, json!({ "deleted": true }));
    let again = twilio.client.send(twilio.client.request(Method::DELETE, &path)).await.unwrap();
    again.assert_problem(404, "not_found", "a number that was released");
    assert_eq!(assign(&other, NUMBER, &twilio.world.agent(1, 0)).await.status, StatusCode::OK);
}
