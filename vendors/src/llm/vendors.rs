//! All configured vendors, and the loop that makes attempts as the plan says.

use std::collections::HashMap;
use std::sync::Arc;

use reqwest::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::anthropic::Anthropic;
use super::attempt::{Attempt, Progress, Vendor};
use super::chain::{ChainFailed, FailureKind, Plan, Step};
use super::estimate::estimate;
use super::gemini::Gemini;
use super::openai::OpenAi;
use super::vendor_a::VendorA;
use super::vendor_b::VendorB;
use super::wire::Wire;
use super::{
    AttemptObserver, AttemptOutcome, AttemptReport, ChatReply, ChatRequest, DeltaSink, LlmConfig, LlmWire,
    Usage,
};
use crate::WallClock;
use crate::http::{Class, ClientError, ErrorCode, VendorError, shared_client};
use crate::resilience::{Breakers, Jitter, Permit, Verdict};

/// Attempts made, by `vendor` and `outcome`.
pub const ATTEMPTS_TOTAL: &str = "vocalbridge_vendor_attempts_total";
/// How long attempts took, in seconds, by `vendor` and `outcome`.
pub const ATTEMPT_DURATION_SECONDS: &str = "vocalbridge_vendor_attempt_duration_seconds";

/// One place in a fallback chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The configured name of a vendor.
    pub provider: String,
    /// Empty means the request's own model.
    pub model: String,
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
}

/// All configured language models with their circuit breakers. Make one per process and share it.
pub struct LlmVendors {
    config: LlmConfig,
    http: Client,
    vendors: HashMap<String, (Arc<str>, Vendor)>,
    breakers: Breakers,
    jitter: Jitter,
    now: WallClock,
}

/// A target of the chain whose vendor is configured.
struct Leg<'a> {
    provider: &'a Arc<str>,
    model: &'a str,
    vendor: &'a Vendor,
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
            let wire: Box<dyn Wire> = match vendor.wire {
                LlmWire::VendorA => Box::new(VendorA),
                LlmWire::VendorB => Box::new(VendorB),
                LlmWire::OpenAi => Box::new(OpenAi::at(&vendor.base_url)),
                LlmWire::Anthropic => Box::new(Anthropic),
                LlmWire::Gemini => Box::new(Gemini),
            };
            let provider = vendor.provider.clone();
            let ready = Vendor::new(wire, &vendor.base_url, &vendor.api_key)
                .map_err(|source| LlmSetupError::Vendor { provider: provider.clone(), source })?;
            vendors.insert(provider, (Arc::from(vendor.provider.as_str()), ready));
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
    /// Attempts are numbered from `first_attempt` on over the whole chain, and `observer` hears of each. With
    /// `deltas` the reply streams into them; without, the vendor's cheaper non-streaming mode is used.
    /// Targets whose vendor is not configured are passed over.
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
        first_attempt: u32,
        observer: &mut impl AttemptObserver,
        cancel: &CancellationToken,
    ) -> Result<Completed, ChainFailed> {
        let legs = self.legs(chain, request)?;
        let breakers = legs.iter().map(|leg| self.breakers.get(leg.provider, leg.model));
        let mut plan = Plan::new(breakers, self.config.max_retries, first_attempt, self.config.backoff);
        loop {
            if cancel.is_cancelled() {
                return Err(plan.cancelled());
            }
            let (index, number, permit) = match plan.next(Instant::now()) {
                Step::Attempt { leg, number, permit } => (leg, number, permit),
                Step::GiveUp => return Err(plan.give_up(legs.iter().map(|leg| (&**leg.provider, leg.model)))),
                Step::WaitUntil(until) => {
                    tokio::select! {
                        // Both branches are cancel-safe: neither holds anything.
                        biased;
                        () = cancel.cancelled() => return Err(plan.cancelled()),
                        () = tokio::time::sleep_until(until) => continue,
                    }
                }
            };
            let leg = &legs[index];
            let (report, result) = self.attempt(leg, request, deltas, number, permit, cancel).await;
            observer.attempted(report).await;
            match result {
                Ok(reply) => {
                    return Ok(Completed {
                        reply,
                        provider: leg.provider.to_string(),
                        model: leg.model.to_owned(),
                        attempts: plan.attempts(),
                    });
                }
                Err(error) if error.code == ErrorCode::Cancelled => return Err(plan.cancelled()),
                Err(error) => plan.failed(index, &error, Instant::now(), self.jitter.next()),
            }
        }
    }

    fn legs<'a>(
        &'a self,
        chain: &'a [Target],
        request: &'a ChatRequest,
    ) -> Result<Vec<Leg<'a>>, ChainFailed> {
        let leg = |target: &'a Target| {
            let (provider, vendor) = self.vendors.get(&target.provider)?;
            let model = if target.model.is_empty() { &request.model } else { &target.model };
            Some(Leg { provider, model, vendor })
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
        leg: &Leg<'_>,
        request: &ChatRequest,
        deltas: Option<&DeltaSink>,
        number: u32,
        permit: Permit,
        cancel: &CancellationToken,
    ) -> (AttemptReport, Result<ChatReply, VendorError>) {
        let (started_at, started) = ((self.now)(), Instant::now());
        let attempt_id = Uuid::now_v7();
        let attempt = Attempt {
            id: attempt_id,
            number,
            vendor: leg.vendor,
            model: leg.model,
            request,
            deltas,
            max_answer_bytes: self.config.max_answer_bytes,
            first_token_timeout: self.config.first_token_timeout,
            stall_timeout: self.config.stall_timeout,
            now: started_at,
        };
        let mut progress = Progress::default();
        let result = tokio::select! {
            // Dropping either is safe: what an attempt has learnt is kept in `progress`.
            biased;
            () = cancel.cancelled() => Err(VendorError::cancelled()),
            result = tokio::time::timeout(self.config.timeout, attempt.send(&self.http, &mut progress)) => {
                result.unwrap_or_else(|_| Err(VendorError::timeout(self.config.timeout)))
            }
        };
        let verdict = if progress.waits_for_reader { Verdict::Unknown } else { verdict(&result) };
        permit.settle(verdict, Instant::now());
        let usage = metered(request, &progress);
        let Progress { status, first_token, answer, .. } = progress;
        let report = AttemptReport {
            attempt_id,
            provider: leg.provider.to_string(),
            model: leg.model.to_owned(),
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
        measure(leg.provider, &report);
        (report, result.map(|()| answer.into_reply(usage)))
    }
}

/// What an attempt has cost. Only the end of an answer makes the vendor's own numbers final; without them,
/// what has come is estimated, and an answer that never began costs nothing.
fn metered(request: &ChatRequest, progress: &Progress) -> Usage {
    // Some compatible servers fill in zeros instead of leaving their usage out.
    let told = progress.answer.usage.filter(|usage| usage.tokens_in > 0 || usage.tokens_out > 0);
    match (progress.whole, told) {
        (true, Some(usage)) => usage,
        (true, None) => estimate(request, &progress.answer),
        (false, _) if progress.first_token.is_some() => estimate(request, &progress.answer),
        (false, _) => Usage::default(),
    }
}

fn outcome(result: &Result<(), VendorError>) -> AttemptOutcome {
    match result.as_ref().map_err(|error| error.code) {
        Ok(()) => AttemptOutcome::Succeeded,
        Err(ErrorCode::Timeout) => AttemptOutcome::TimedOut,
        Err(ErrorCode::Cancelled) => AttemptOutcome::Cancelled,
        Err(_) => AttemptOutcome::Failed,
    }
}

fn verdict(result: &Result<(), VendorError>) -> Verdict {
    match result {
        Ok(()) => Verdict::Success,
        Err(VendorError { code: ErrorCode::Cancelled, .. }) => Verdict::Unknown,
        Err(VendorError { code: ErrorCode::RateLimited, .. }) => Verdict::Alive,
        Err(VendorError { class: Class::Retry { .. }, .. }) => Verdict::Failure,
        Err(_) => Verdict::Alive,
    }
}

fn measure(provider: &Arc<str>, report: &AttemptReport) {
    let outcome = report.outcome.as_str();
    metrics::counter!(ATTEMPTS_TOTAL, "vendor" => provider.clone(), "outcome" => outcome).increment(1);
    metrics::histogram!(ATTEMPT_DURATION_SECONDS, "vendor" => provider.clone(), "outcome" => outcome)
        .record(report.latency.as_secs_f64());
}
