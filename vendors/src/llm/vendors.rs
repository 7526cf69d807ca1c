//! All configured vendors, and the loop that makes attempts as the plan says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::anthropic::Anthropic;
use super::attempt::{Attempt, Progress, Vendor};
use super::chain::{Ask, ChainFailed, FailureKind, Place, Plan, Step};
use super::floor::Floor;
use super::gemini::Gemini;
use super::openai::OpenAi;
use super::vendor_a::VendorA;
use super::vendor_b::VendorB;
use super::verdict::{measure, metered, outcome, verdict};
use super::wire::Wire;
use super::{
    AttemptObserver, AttemptReport, ChatReply, ChatRequest, DeltaSink, LlmConfig, LlmEndpoint, LlmWire,
    PlannedAttempt,
};
use crate::WallClock;
use crate::http::{ClientError, ErrorCode, VendorError, shared_client};
use crate::resilience::{Breakers, Jitter, Verdict};

/// One place in a fallback chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The configured name of a vendor.
    pub provider: String,
    /// Empty means the request's own model.
    pub model: String,
}

/// How one call goes about its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOptions {
    /// The number of the first attempt; those that follow count on.
    pub first_attempt: u32,
    /// When an attempt has given no first token after this time (no first byte, where the reply does not stream), one
    /// more starts beside it; the first to give its first token (its whole answer) goes on, the other is cancelled.
    /// `None`: never.
    pub hedge_after: Option<Duration>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { first_attempt: 1, hedge_after: None }
    }
}

/// A reply, and who gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    pub reply: ChatReply,
    pub provider: String,
    pub model: String,
    /// Requests made, the successful one included.
    pub attempts: u32,
}

/// The vendors could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LlmSetupError {
    #[error("language models need an HTTP client")]
    Client(#[from] ClientError),
    #[error("vendor {provider} is set up wrongly")]
    Vendor { provider: String, source: VendorError },
    #[error("vendor {provider} has no endpoint")]
    Nowhere { provider: String },
}

/// All configured language models with their circuit breakers. Make one per process and share it.
pub struct LlmVendors {
    config: LlmConfig,
    http: Client,
    vendors: HashMap<String, (Arc<str>, Vec<Vendor>)>,
    breakers: Breakers,
    jitter: Jitter,
    now: WallClock,
}

/// A target of the chain whose vendor is configured.
struct Leg<'a> {
    provider: &'a Arc<str>,
    model: &'a str,
    endpoints: &'a [Vendor],
}

/// What all attempts of one call have in common.
struct Call<'a> {
    legs: &'a [Leg<'a>],
    request: &'a ChatRequest,
    deltas: Option<&'a DeltaSink>,
    hedge_after: Option<Duration>,
    cancel: &'a CancellationToken,
}

impl Call<'_> {
    async fn admitted(&self, ask: &Ask, observer: &mut impl AttemptObserver) -> bool {
        let Leg { provider, model, .. } = &self.legs[ask.place.leg];
        let planned = PlannedAttempt { provider, model, number: ask.number, request: self.request };
        observer.admits(&planned).await
    }
}

impl LlmVendors {
    /// `now` stamps reports and reads dates in `Retry-After`; everything else uses the runtime's clock.
    ///
    /// # Errors
    /// When a vendor's address or key cannot be used, or TLS cannot be set up.
    pub fn new(config: LlmConfig, now: WallClock) -> Result<Self, LlmSetupError> {
        let http = shared_client()?;
        let mut vendors = HashMap::new();
        for vendor in &config.vendors {
            let provider = &vendor.provider;
            if vendor.endpoints.is_empty() {
                return Err(LlmSetupError::Nowhere { provider: provider.clone() });
            }
            let ready: Result<Vec<_>, _> =
                vendor.endpoints.iter().map(|endpoint| connect(vendor.wire, endpoint)).collect();
            let ready =
                ready.map_err(|source| LlmSetupError::Vendor { provider: provider.clone(), source })?;
            vendors.insert(provider.clone(), (Arc::from(provider.as_str()), ready));
        }
        let breakers = Breakers::new(config.breaker);
        let jitter = Jitter::new(config.jitter_seed);
        Ok(Self { config, http, vendors, breakers, jitter, now })
    }

    /// Whether this vendor is configured.
    pub fn has(&self, provider: &str) -> bool {
        self.vendors.contains_key(provider)
    }

    /// Gets a reply from the first target of `chain` that gives one.
    ///
    /// Attempts are numbered over the whole chain, and `observer` hears of each. With `deltas` the reply streams
    /// into them; without, the vendor's cheaper non-streaming mode is used. Targets whose vendor is not configured
    /// are passed over.
    ///
    /// Ends at once when `cancel` is cancelled. Stop it that way and not by dropping the future: a dropped
    /// attempt is never reported, though the vendor may bill it.
    ///
    /// # Errors
    /// When no target gave a reply.
    pub async fn complete(
        &self,
        chain: &[Target],
        request: &ChatRequest,
        deltas: Option<&DeltaSink>,
        options: CallOptions,
        observer: &mut impl AttemptObserver,
        cancel: &CancellationToken,
    ) -> Result<Completed, ChainFailed> {
        let legs = self.legs(chain, request)?;
        let breakers = legs.iter().map(|leg| self.breakers.get(leg.provider, leg.model, leg.endpoints.len()));
        let CallOptions { first_attempt, hedge_after } = options;
        let mut plan = Plan::new(breakers, self.config.max_retries, first_attempt, self.config.backoff);
        let call = Call { legs: &legs, request, deltas, hedge_after, cancel };
        loop {
            if cancel.is_cancelled() {
                return Err(plan.cancelled());
            }
            match plan.next(Instant::now()) {
                Step::Attempt(ask) => {
                    if !call.admitted(&ask, observer).await {
                        plan.withdraw(ask);
                        return Err(plan.not_admitted());
                    }
                    if let Some(completed) = self.race(&call, &mut plan, ask, observer).await {
                        return Ok(completed);
                    }
                }
                Step::GiveUp => return Err(plan.give_up(legs.iter().map(|leg| (&**leg.provider, leg.model)))),
                Step::WaitUntil(until) => {
                    tokio::select! {
                        // Both branches are cancel-safe: neither holds anything.
                        biased;
                        () = cancel.cancelled() => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// One attempt and, when it is slow to begin, a second one beside it. All have ended and are reported when this
    /// returns. `None`: none has given a reply, and the plan knows of every failure.
    async fn race(
        &self,
        call: &Call<'_>,
        plan: &mut Plan,
        first: Ask,
        observer: &mut impl AttemptObserver,
    ) -> Option<Completed> {
        let (floor, beside) = (Floor::default(), first.place);
        let mut hedge_at = call.hedge_after.map(|after| Instant::now() + after);
        let mut under_way = FuturesUnordered::from_iter([self.attempt(call, first, &floor)]);
        let mut completed = None;
        loop {
            let ended = tokio::select! {
                // Both branches are cancel-safe: an attempt that has not ended stays in the set.
                biased;
                ended = under_way.next() => ended,
                () = sleep_until(hedge_at) => {
                    hedge_at = None;
                    if !floor.has_begun() && let Some(ask) = plan.hedge(beside, Instant::now()) {
                        match call.admitted(&ask, observer).await {
                            true => under_way.push(self.attempt(call, ask, &floor)),
                            false => plan.withdraw(ask),
                        }
                    }
                    continue;
                }
            };
            let Some((place, report, result)) = ended else { return completed };
            observer.attempted(report).await;
            match result {
                Ok(reply) => {
                    let leg = &call.legs[place.leg];
                    let (provider, model) = (leg.provider.to_string(), leg.model.to_owned());
                    completed = Some(Completed { reply, provider, model, attempts: plan.attempts() });
                }
                Err(error) if error.code == ErrorCode::Cancelled => {}
                Err(error) => plan.failed(place, &error, Instant::now(), self.jitter.next()),
            }
        }
    }

    fn legs<'a>(
        &'a self,
        chain: &'a [Target],
        request: &'a ChatRequest,
    ) -> Result<Vec<Leg<'a>>, ChainFailed> {
        let leg = |target: &'a Target| {
            let (provider, endpoints) = self.vendors.get(&target.provider)?;
            let model = if target.model.is_empty() { &request.model } else { &target.model };
            Some(Leg { provider, model, endpoints })
        };
        let legs: Vec<_> = chain.iter().filter_map(leg).collect();
        if legs.is_empty() {
            let providers: Vec<_> = chain.iter().map(|target| target.provider.clone()).collect();
            let detail = format!("not configured: {}", providers.join(", "));
            return Err(ChainFailed { kind: FailureKind::NoVendor { providers }, attempts: 0, detail });
        }
        Ok(legs)
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        ask: Ask,
        floor: &Floor,
    ) -> (Place, AttemptReport, Result<ChatReply, VendorError>) {
        let Ask { place, number, permit } = ask;
        let (started_at, started) = ((self.now)(), Instant::now());
        let attempt_id = Uuid::now_v7();
        let leg = &call.legs[place.leg];
        let attempt = Attempt {
            id: attempt_id,
            number,
            vendor: &leg.endpoints[place.endpoint],
            model: leg.model,
            request: call.request,
            deltas: call.deltas,
            floor,
            max_answer_bytes: self.config.max_answer_bytes,
            first_token_timeout: self.config.first_token_timeout,
            stall_timeout: self.config.stall_timeout,
            now: started_at,
        };
        let mut progress = Progress::default();
        let result = tokio::select! {
            // Dropping any is safe: what an attempt has learnt is kept in `progress`.
            biased;
            () = call.cancel.cancelled() => Err(VendorError::cancelled()),
            () = floor.lost(number) => Err(VendorError::cancelled()),
            result = tokio::time::timeout(self.config.timeout, attempt.send(&self.http, &mut progress)) => {
                result.unwrap_or_else(|_| Err(VendorError::timeout(self.config.timeout)))
            }
        };
        let verdict = if progress.waits_for_reader { Verdict::Unknown } else { verdict(&result) };
        permit.settle(verdict, Instant::now());
        let usage = metered(call.request, &progress);
        let Progress { status, first_token, answer, .. } = progress;
        let endpoint = place.endpoint + 1;
        let report = AttemptReport {
            attempt_id,
            provider: leg.provider.to_string(),
            model: leg.model.to_owned(),
            endpoint: (leg.endpoints.len() > 1).then_some(endpoint as u32),
            number,
            outcome: outcome(&result),
            error: result.as_ref().err().map(|error| error.detail.clone()),
            error_code: result.as_ref().err().map(|error| error.code),
            status,
            started_at,
            latency: started.elapsed(),
            first_token,
            usage,
        };
        measure(leg.provider, endpoint, &report);
        (place, report, result.map(|()| answer.into_reply(usage)))
    }
}

fn connect(wire: LlmWire, endpoint: &LlmEndpoint) -> Result<Vendor, VendorError> {
    let LlmEndpoint { base_url, api_key } = endpoint;
    let wire: Box<dyn Wire> = match wire {
        LlmWire::VendorA => Box::new(VendorA),
        LlmWire::VendorB => Box::new(VendorB),
        LlmWire::OpenAi => Box::new(OpenAi::at(base_url)),
        LlmWire::Anthropic => Box::new(Anthropic),
        LlmWire::Gemini => Box::new(Gemini),
    };
    Vendor::new(wire, base_url, api_key)
}

/// Never without a time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
