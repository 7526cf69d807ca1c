//! Twilio, as it behaves towards us: webhooks that it signs, and streams that it opens.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cli::system::System;
use events::{Aggregate, CallId, Payload, TenantId};
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use vendors::telephony::twilio::signature;

use crate::client::Answer;
use crate::echo::Calls;
use crate::{Client, Socket, World};

pub const ACCOUNT: &str = "AC00000000000000000000000000000000";
pub const TOKEN: &str = "the installation's token";
pub const PUBLIC: &str = "https://voice.example.com";
pub const INCOMING: &str = "/api/twilio/incoming";
pub const STATUS: &str = "/api/twilio/status";

/// An installation with a Twilio account, and Twilio as its tests play it.
pub struct Twilio {
    pub world: World,
    pub client: Client,
    pub calls: Calls,
}

impl Twilio {
    pub async fn start(extra: &[(&str, &str)]) -> Self {
        Self::start_with(extra, |_, _| {}).await
    }

    pub async fn start_with(extra: &[(&str, &str)], change: impl FnOnce(&World, &mut System)) -> Self {
        let account = [("TWILIO_ACCOUNT_SID", ACCOUNT), ("TWILIO_AUTH_TOKEN", TOKEN), ("APP_URL", PUBLIC)];
        let settings: Vec<_> = account.iter().chain(extra).copied().collect();
        let world = World::with_environment(&settings).await;
        let client =
            world.run_with("api,projections".parse().unwrap(), |system| change(&world, system)).await;
        let calls = Calls::take(&world.connect().await);
        Self { world, client, calls }
    }

    /// With the first demo tenant's first number assigned.
    pub async fn with_number() -> Self {
        let twilio = Self::start(&[]).await;
        let answer = assign(&twilio.client, NUMBER, &twilio.world.agent(0, 1)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        twilio
    }

    pub async fn post(&self, path: &str, form: &Form, signature: &str) -> (StatusCode, String) {
        post(&self.client, path, form, signature).await
    }

    /// As Twilio does it.
    pub async fn signed(&self, path: &str, form: &Form) -> (StatusCode, String) {
        self.post(path, form, &sign(TOKEN, path, form)).await
    }

    /// The token of a stream, as the webhook's answer has it.
    pub async fn stream_token(&self, call_sid: &str) -> String {
        let (status, twiml) = self.signed(INCOMING, &incoming(call_sid)).await;
        assert_eq!(status, StatusCode::OK, "{twiml}");
        token_in(&twiml)
    }

    pub async fn stream(&self, call_sid: &str, token: &str) -> Socket {
        let mut socket = Socket::open(&self.client.url(""), "/ws/voice-twilio", &[]).await;
        socket.send_json(&json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })).await;
        socket.send_json(&started(call_sid, token)).await;
        socket
    }

    pub async fn history(&self, tenant: usize, call_id: CallId) -> Vec<Payload> {
        let call = Aggregate::call(TenantId(self.world.tenant(tenant).id.0), call_id);
        let history = self.world.connect().await.nats.log.read(&call, 0).await.unwrap();
        history.into_iter().map(|recorded| recorded.event.payload).collect()
    }

    pub async fn ends_of(&self, call_id: CallId) -> Vec<(&'static str, String)> {
        let ends = self.history(0, call_id).await.into_iter().filter_map(|payload| match payload {
            Payload::CallEnded(ended) => Some((ended.status.as_str(), ended.end_reason)),
            _ => None,
        });
        ends.collect()
    }
}

pub const NUMBER: &str = "+14155550100";

pub type Form = BTreeMap<&'static str, String>;

fn form(pairs: &[(&'static str, &str)]) -> Form {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

pub fn incoming(call_sid: &str) -> Form {
    form(&[
        ("AccountSid", ACCOUNT),
        ("CallSid", call_sid),
        ("From", "+14155559999"),
        ("To", NUMBER),
        ("CallStatus", "ringing"),
        ("Direction", "inbound"),
        ("CallerCity", ""),
        ("CallerName", "Zoë & Söhne"),
    ])
}

/// A webhook that says `signature` of itself.
pub async fn post(client: &Client, path: &str, form: &Form, signature: &str) -> (StatusCode, String) {
    let body: String = form.iter().map(|(name, value)| format!("{name}={}&", encoded(value))).collect();
    let request = client.with_key("").request(Method::POST, path).body(body.trim_end_matches('&').to_owned());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.header("x-twilio-signature", signature).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

pub fn sign(token: &str, path: &str, form: &Form) -> String {
    let pairs: Vec<_> = form.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    signature(&SecretString::from(token), &format!("{PUBLIC}{path}"), &pairs)
}

fn encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub fn token_in(twiml: &str) -> String {
    let (_, rest) =
        twiml.split_once("<Parameter name=\"token\" value=\"").unwrap_or_else(|| panic!("{twiml}"));
    rest.split_once('"').unwrap().0.to_owned()
}

pub fn started(call_sid: &str, token: &str) -> Value {
    json!({
        "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
        "start": {
            "accountSid": ACCOUNT, "streamSid": "MZ1", "callSid": call_sid, "tracks": ["inbound"],
            "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            "customParameters": { "token": token }
        }
    })
}

pub fn media(number: u64, byte: u8) -> Value {
    json!({
        "event": "media", "sequenceNumber": (number + 2).to_string(), "streamSid": "MZ1",
        "media": {
            "track": "inbound", "chunk": (number + 1).to_string(), "timestamp": (number * 20).to_string(),
            "payload": STANDARD.encode([byte; 160])
        }
    })
}

pub async fn assign(client: &Client, number: &str, agent: &str) -> Answer {
    let request = client.request(Method::PUT, &format!("/api/phone-numbers/{number}"));
    client.send(request.json(&json!({ "agent_id": agent }))).await.unwrap()
}
