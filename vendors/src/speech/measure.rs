//! What is measured of every attempt to hear or to speak.

use tokio::time::Instant;

use super::SpeechError;
use crate::http::ErrorCode;

/// Attempts made, by `kind` (`transcription`, `partial`, `synthesis`), `vendor` and `outcome`.
pub const ATTEMPTS_TOTAL: &str = "vocalbridge_speech_attempts_total";
/// How long attempts took, in seconds, by `kind`, `vendor` and `outcome`; of a synthesis, until its first audio.
pub const ATTEMPT_DURATION_SECONDS: &str = "vocalbridge_speech_attempt_duration_seconds";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Transcription,
    /// A transcript of what there is so far.
    Partial,
    Synthesis,
}

/// An attempt under way. Dropped before it has ended, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct Measured {
    kind: Kind,
    vendor: &'static str,
    started: Instant,
    ended: bool,
}

impl Measured {
    pub(crate) fn begin(kind: Kind, vendor: &'static str) -> Self {
        Self { kind, vendor, started: Instant::now(), ended: false }
    }

    pub(crate) fn ended<T>(mut self, result: &Result<T, SpeechError>) {
        self.ended = true;
        self.record(match result {
            Ok(_) => "succeeded",
            Err(SpeechError::AtCapacity { .. }) => "refused",
            Err(SpeechError::Vendor { source, .. }) if source.code == ErrorCode::Timeout => "timed_out",
            Err(_) => "failed",
        });
    }

    fn record(&self, outcome: &'static str) {
        let kind = match self.kind {
            Kind::Transcription => "transcription",
            Kind::Partial => "partial",
            Kind::Synthesis => "synthesis",
        };
        let labels = [("kind", kind), ("vendor", self.vendor), ("outcome", outcome)];
        metrics::counter!(ATTEMPTS_TOTAL, &labels).increment(1);
        metrics::histogram!(ATTEMPT_DURATION_SECONDS, &labels).record(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.ended {
            self.record("cancelled");
        }
    }
}
