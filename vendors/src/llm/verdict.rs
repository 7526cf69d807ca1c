//! What an attempt that has ended comes to: its outcome, what it says of its vendor, what it has cost.

use std::sync::Arc;

use metrics::SharedString;

use super::attempt::Progress;
use super::estimate::estimate;
use super::{AttemptOutcome, AttemptReport, ChatRequest, Usage};
use crate::http::{Class, ErrorCode, VendorError};
use crate::resilience::Verdict;

/// Attempts made, by `vendor`, `endpoint` (which of its configured endpoints, from 1) and `outcome`.
pub const ATTEMPTS_TOTAL: &str = "vocalbridge_vendor_attempts_total";
/// How long attempts took, in seconds, by `vendor` and `outcome`.
pub const ATTEMPT_DURATION_SECONDS: &str = "vocalbridge_vendor_attempt_duration_seconds";

/// What an attempt has cost. Only the end of an answer makes the vendor's own numbers final; without them,
/// what has come is estimated, and an answer that never began costs nothing.
pub(super) fn metered(request: &ChatRequest, progress: &Progress) -> Usage {
    // Some compatible servers fill in zeros instead of leaving their usage out.
    let told = progress.answer.usage.filter(|usage| usage.tokens_in > 0 || usage.tokens_out > 0);
    match (progress.whole, told) {
        (true, Some(usage)) => usage,
        (true, None) => estimate(request, &progress.answer),
        (false, _) if progress.first_token.is_some() => estimate(request, &progress.answer),
        (false, _) => Usage::default(),
    }
}

pub(super) fn outcome(result: &Result<(), VendorError>) -> AttemptOutcome {
    match result.as_ref().map_err(|error| error.code) {
        Ok(()) => AttemptOutcome::Succeeded,
        Err(ErrorCode::Timeout) => AttemptOutcome::TimedOut,
        Err(ErrorCode::Cancelled) => AttemptOutcome::Cancelled,
        Err(_) => AttemptOutcome::Failed,
    }
}

pub(super) fn verdict(result: &Result<(), VendorError>) -> Verdict {
    match result {
        Ok(()) => Verdict::Success,
        Err(VendorError { code: ErrorCode::Cancelled, .. }) => Verdict::Unknown,
        Err(VendorError { code: ErrorCode::RateLimited, .. }) => Verdict::Alive,
        Err(VendorError { class: Class::Retry { .. }, .. }) => Verdict::Failure,
        Err(_) => Verdict::Alive,
    }
}

/// `endpoint` counts from 1.
pub(super) fn measure(provider: &Arc<str>, endpoint: usize, report: &AttemptReport) {
    let outcome = report.outcome.as_str();
    let labels = [
        ("vendor", SharedString::from(provider.clone())),
        ("endpoint", endpoint.to_string().into()),
        ("outcome", outcome.into()),
    ];
    metrics::counter!(ATTEMPTS_TOTAL, &labels).increment(1);
    metrics::histogram!(ATTEMPT_DURATION_SECONDS, "vendor" => provider.clone(), "outcome" => outcome)
        .record(report.latency.as_secs_f64());
}
