//! What a softphone asks of the system over HTTP.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;
use vendors::telephony::twilio;

use super::Transport;
use super::phone::Phone;
use super::wire::{Twilio, Wire};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Who calls, and who is called: numbers that nobody has.
const CALLER: &str = "+15005550006";

/// One tenant of a system.
pub struct Api {
    base_url: String,
    api_key: String,
    /// Account and token that stand for Twilio's.
    twilio: Option<(String, SecretString)>,
    client: Client,
}

impl Api {
    pub fn new(base_url: &str, api_key: &str) -> Result<Self> {
        Ok(Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            api_key: api_key.to_owned(),
            twilio: None,
            client: vendors::http::plain_client()?,
        })
    }

    /// The system that `vocalbridge dev` runs; the tenant that has the agent.
    ///
    /// # Errors
    /// When none runs there, or no tenant has such an agent.
    pub fn of_dev(data_dir: &Path, agent: &str) -> Result<Self> {
        let path = data_dir.join("dev.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: is `vocalbridge dev` running?", path.display()))?;
        let dev: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        let has = |tenant: &&Value| {
            let mut agents = tenant["agents"].as_array().into_iter().flatten();
            agents.any(|known| known["name"] == agent || known["id"] == agent)
        };
        let tenants = dev["tenants"].as_array().context("no tenants")?;
        let Some(tenant) = tenants.iter().find(has).or(tenants.first()) else { bail!("no tenants") };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let twilio = &dev["twilio"];
        Ok(Self {
            twilio: twilio
                .is_object()
                .then(|| (text(&twilio["account_sid"]), SecretString::from(text(&twilio["auth_token"])))),
            ..Self::new(&text(&dev["base_url"]), &text(&tenant["api_key"]))?
        })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.base_url));
        request = request.header("X-API-Key", &self.api_key).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| format!("cannot reach {}", self.base_url))?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if !status.is_success() {
            bail!("{path}: {status}: {}", body["detail"].as_str().unwrap_or_default());
        }
        Ok(body)
    }

    async fn agent_id(&self, agent: &str) -> Result<String> {
        let agents = self.ask(Method::GET, "/api/agents?limit=1000", None).await?;
        let found = agents
            .as_array()
            .into_iter()
            .flatten()
            .find(|known| known["name"] == agent || known["id"] == agent);
        let id = found.and_then(|agent| agent["id"].as_str());
        Ok(id.with_context(|| format!("there is no agent {agent:?}"))?.to_owned())
    }

    /// Calls the agent; answers the call's id.
    ///
    /// # Errors
    /// When the call is refused.
    pub async fn dial(&self, agent: &str, transport: Transport) -> Result<(String, Phone)> {
        let agent_id = self.agent_id(agent).await?;
        match transport {
            Transport::Browser => self.dial_as_browser(&agent_id).await,
            Transport::Twilio => self.dial_as_twilio(&agent_id).await,
        }
    }

    async fn dial_as_browser(&self, agent_id: &str) -> Result<(String, Phone)> {
        let ticket = self.ask(Method::POST, "/api/ws-tickets", Some(json!({ "agent_id": agent_id }))).await?;
        let ticket = ticket["ticket"].as_str().context("no ticket")?;
        let url = format!("{}/ws/voice-browser?agent_id={agent_id}&ticket={ticket}", self.socket_url());
        let mut phone = Phone::connect(&url, Wire::Browser, []).await?;
        let started = phone.told("session_started").await?;
        Ok((started["call_id"].as_str().unwrap_or_default().to_owned(), phone))
    }

    /// Does what Twilio does when somebody calls one of its numbers.
    async fn dial_as_twilio(&self, agent_id: &str) -> Result<(String, Phone)> {
        let (account_sid, token) = self
            .twilio
            .as_ref()
            .context("only the system of `vocalbridge dev` can be called as Twilio calls it")?;
        let number = number_of(agent_id);
        let assigned = json!({ "agent_id": agent_id });
        self.ask(Method::PUT, &format!("/api/phone-numbers/{number}"), Some(assigned)).await?;
        let call_sid = format!("CA{}", Uuid::now_v7().simple());
        let form: Vec<(String, String)> = [
            ("AccountSid", account_sid.as_str()),
            ("CallSid", call_sid.as_str()),
            ("From", CALLER),
            ("To", number.as_str()),
            ("CallStatus", "ringing"),
            ("Direction", "inbound"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let url = format!("{}/api/twilio/incoming", self.base_url);
        let signature = twilio::signature(token, &url, &form);
        let answer = self.client.post(&url).header("X-Twilio-Signature", signature).timeout(PATIENCE);
        let answer = answer.form(&form).send().await?;
        let (status, twiml) = (answer.status(), answer.text().await?);
        let token = parameter(&twiml).with_context(|| format!("the call was refused: {status} {twiml}"))?;
        let stream = Twilio::new(format!("MZ{}", Uuid::now_v7().simple()));
        let opening = stream.opening(account_sid, &call_sid, &json!({ "token": token }));
        let url = format!("{}/ws/voice-twilio", self.socket_url());
        let phone = Phone::connect(&url, Wire::Twilio(Box::new(stream)), opening).await?;
        Ok((call_sid, phone))
    }

    fn socket_url(&self) -> String {
        self.base_url.replacen("http", "ws", 1)
    }

    /// The call with this id, ours or the carrier's.
    async fn find(&self, call: &str) -> Result<Value> {
        if Uuid::try_parse(call).is_ok() {
            return self.ask(Method::GET, &format!("/api/calls/{call}"), None).await;
        }
        let calls = self.ask(Method::GET, "/api/calls", None).await?;
        let found = calls.as_array().into_iter().flatten().find(|known| known["provider_call_sid"] == call);
        let id = found
            .and_then(|found| found["id"].as_str())
            .with_context(|| format!("there is no call {call}"))?;
        self.ask(Method::GET, &format!("/api/calls/{id}"), None).await
    }

    /// The call once it is over, and what was said of it is known.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn ended(&self, call: &str) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(LOOK_AGAIN);
        loop {
            look.tick().await;
            let found = self.find(call).await?;
            if !found["ended_at"].is_null() {
                return Ok(found);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("the call does not end: {found}");
            }
        }
    }

    pub async fn transcript(&self, call: &str) -> Result<Vec<Value>> {
        let lines = self.ask(Method::GET, &format!("/api/calls/{call}/transcript"), None).await?;
        Ok(lines.as_array().cloned().unwrap_or_default())
    }
}

/// A number of its own for each agent, out of those that no carrier gives out.
fn number_of(agent_id: &str) -> String {
    let digits = agent_id.bytes().fold(0_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 100);
    format!("+120255501{digits:02}")
}

/// The stream's token in an answer.
fn parameter(twiml: &str) -> Option<&str> {
    let (_, rest) = twiml.split_once("<Parameter ")?;
    let (_, value) = rest.split_once("value=\"")?;
    value.split('"').next()
}
