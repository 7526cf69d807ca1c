//! Calls with simulated ears and mouth: what the ears hear is the next phrase of a conversation, whatever was said.

use std::time::Duration;

use cli::system::System;
use events::call::CallEnded;
use events::session::ReplyInterrupted;
use events::{Aggregate, CallId, Payload};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{Client, World, eventually};

const LIMIT: Duration = Duration::from_secs(20);

/// An installation in which callers say `phrases`, one after the other, to an agent with simulated ears and mouth.
pub struct SpokenWorld {
    pub world: World,
    pub client: Client,
    pub agent: String,
    system: System,
}

impl SpokenWorld {
    pub async fn start(greeting: Value, phrases: Value) -> Self {
        Self::start_with(&[], greeting, phrases).await
    }

    pub async fn start_with(settings: &[(&str, &str)], greeting: Value, phrases: Value) -> Self {
        let (world, client) = World::start_with(settings).await;
        world.control("simulated_speech", json!({ "phrases": phrases })).await;
        let agent = world.agent(0, 0);
        let simulated = json!({ "provider": "simulated" });
        let settings = json!({ "greeting": greeting, "stt": simulated, "tts": simulated });
        let request = client.request(Method::PATCH, &format!("/api/agents/{agent}")).json(&settings);
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let system = world.connect().await;
        Self { world, client, agent, system }
    }

    async fn history(&self, aggregate: Aggregate) -> Vec<Payload> {
        let history = self.system.nats.log.read(&aggregate, 0).await.unwrap();
        history.into_iter().map(|recorded| recorded.event.payload).collect()
    }

    /// What the log has of a call.
    pub async fn call(&self, call_id: &str) -> Vec<Payload> {
        let call_id = CallId(call_id.parse().unwrap());
        self.history(Aggregate::call(self.world.tenant(0).id, call_id)).await
    }

    /// How the call ended.
    pub async fn ended(&self, call_id: &str) -> CallEnded {
        eventually("the end of the call", LIMIT, async || {
            self.call(call_id).await.into_iter().find_map(|payload| match payload {
                Payload::CallEnded(ended) => Some(ended),
                _ => None,
            })
        })
        .await
    }

    /// What the log has of a call's session.
    pub async fn session(&self, call_id: &str) -> Vec<Payload> {
        let started = self.call(call_id).await.into_iter().find_map(|payload| match payload {
            Payload::CallStarted(started) => Some(started),
            _ => None,
        });
        self.history(Aggregate::session(self.world.tenant(0).id, started.unwrap().session_id)).await
    }

    pub async fn interruptions(&self, call_id: &str) -> Vec<ReplyInterrupted> {
        let session = self.session(call_id).await;
        let found = session.into_iter().filter_map(|payload| match payload {
            Payload::ReplyInterrupted(interrupted) => Some(interrupted),
            _ => None,
        });
        found.collect()
    }

    /// What the model was told last, as one text.
    pub async fn last_prompt(&self) -> String {
        self.world.vendor_requests("vendor_a").await.last().unwrap()["body"].to_string()
    }
}
