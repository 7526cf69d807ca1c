//! Long waits as scheduled messages in the stream `TIMERS`, never as sleeping tasks: they outlive every process.

use async_nats::HeaderMap;
use async_nats::header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{Log, subjects};

#[derive(Debug, thiserror::Error)]
#[error("cannot set the timer {kind}/{id}")]
pub struct TimerError {
    kind: &'static str,
    id: String,
    source: async_nats::Error,
}

impl Log {
    /// Has `payload` delivered to the consumers of `kind` at `due` (or at once, when that has passed). Setting a timer
    /// again under the same id replaces it.
    ///
    /// # Errors
    /// When the stream does not take it.
    pub async fn set_timer(
        &self,
        kind: &'static str,
        id: &str,
        due: DateTime<Utc>,
        payload: Bytes,
    ) -> Result<(), TimerError> {
        let mut headers = HeaderMap::new();
        let error = |source: async_nats::Error| TimerError { kind, id: id.to_owned(), source };
        headers.insert(NATS_SCHEDULE, format!("@at {}", due.to_rfc3339_opts(SecondsFormat::Millis, true)));
        headers.insert(NATS_SCHEDULE_TARGET, subjects::timer_due(kind, id));
        self.context()
            .publish_with_headers(subjects::timer_set(kind, id), headers, payload)
            .await
            .map_err(|source| error(source.into()))?
            .await
            .map_err(|source| error(source.into()))?;
        Ok(())
    }
}
