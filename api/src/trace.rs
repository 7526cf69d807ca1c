//! What ties a request to all it causes: its correlation id and its W3C trace context.

use std::sync::{Mutex, OnceLock, PoisonError};

use axum::http::{HeaderMap, HeaderName};
use events::{ApiKeyId, CorrelationId, Origin, TenantId};

use crate::rates::Standing;

pub(crate) const CORRELATION_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
pub(crate) const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// One per request; lives in the request's extensions.
#[derive(Debug)]
pub(crate) struct Trace {
    pub correlation_id: CorrelationId,
    /// W3C Trace Context, version 00.
    pub traceparent: String,
    /// Known once the caller's key was looked up; for the log line.
    pub tenant_id: OnceLock<TenantId>,
    /// Of all limits that the request counted against, the one that will be reached first; for the answer's headers.
    rate: Mutex<Option<Standing>>,
}

impl Trace {
    /// Takes what the client sent where it is usable, and makes the rest.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let sent = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            correlation_id: sent(&CORRELATION_HEADER).and_then(CorrelationId::parse).unwrap_or_default(),
            traceparent: sent(&TRACEPARENT_HEADER)
                .filter(|sent| is_traceparent(sent))
                .map_or_else(new_traceparent, str::to_owned),
            tenant_id: OnceLock::new(),
            rate: Mutex::new(None),
        }
    }

    /// The request counted against a limit.
    pub(crate) fn counted(&self, standing: Standing) {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        *rate = Some(standing.nearer(*rate));
    }

    pub(crate) fn rate(&self) -> Option<Standing> {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The origin of every event that this request causes in the name of `actor`.
    pub(crate) fn origin(&self, actor: String) -> Origin {
        Origin {
            correlation_id: self.correlation_id.clone(),
            key_id: key_of(&actor),
            actor,
            traceparent: self.traceparent.clone(),
        }
    }
}

/// The key that an actor is; `None`: it is somebody else.
pub(crate) fn key_of(actor: &str) -> Option<ApiKeyId> {
    actor.strip_prefix("key:").and_then(|id| id.parse().ok())
}

#[expect(clippy::disallowed_methods, reason = "ids of traces are random, and no test depends on their value")]
fn new_traceparent() -> String {
    let (trace_id, span_id) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
    format!("00-{trace_id:032x}-{span_id:016x}-01")
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case, neither id all zeros.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts[..] {
        [version, trace_id, parent_id, flags] => {
            version == "00"
                && hex(trace_id, 32)
                && some(trace_id)
                && hex(parent_id, 16)
                && some(parent_id)
                && hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(name: HeaderName, value: &str) -> Trace {
        Trace::of(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
    }

    #[test]
    fn a_usable_correlation_id_is_taken_and_another_replaced() {
        assert_eq!(trace(CORRELATION_HEADER, "order-17").correlation_id.as_str(), "order-17");
        assert_ne!(trace(CORRELATION_HEADER, "two words").correlation_id.as_str(), "two words");
    }

    #[test]
    fn a_valid_traceparent_is_passed_on() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace(TRACEPARENT_HEADER, valid).traceparent, valid);
    }

    #[test]
    fn a_broken_traceparent_is_replaced_by_a_valid_one() {
        for broken in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "nonsense",
        ] {
            let trace = trace(TRACEPARENT_HEADER, broken);
            assert_ne!(trace.traceparent, broken);
            assert!(is_traceparent(&trace.traceparent), "{}", trace.traceparent);
        }
    }
}
