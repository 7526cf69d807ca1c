//! When keys were last used: noted in memory, kept in a table now and then. Nothing follows from it, so it is not in the
//! log, and what a process that dies had not kept yet is lost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::ApiKeyId;
use projections::configuration::api_keys::{self, KeyUse};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::App;

/// How soon a use is kept, when the last one that was is old enough.
const TICK: Duration = Duration::from_secs(2);
/// A key's uses are kept no oftener.
const AT_MOST_EVERY: TimeDelta = TimeDelta::minutes(1);
/// A key that was not used for so long is forgotten here.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(10);

/// The keys in use, as this process sees them.
#[derive(Default)]
pub(crate) struct KeyUses(Mutex<HashMap<ApiKeyId, Noted>>);

struct Noted {
    last: KeyUse,
    kept_at: Option<DateTime<Utc>>,
}

impl Noted {
    fn is_to_be_kept(&self, least: TimeDelta) -> bool {
        self.kept_at.is_none_or(|kept_at| self.last.at > kept_at && self.last.at - kept_at >= least)
    }
}

impl KeyUses {
    pub(crate) fn note(&self, used: KeyUse) {
        let mut noted = self.lock();
        noted.entry(used.key_id).or_insert(Noted { last: used, kept_at: None }).last = used;
    }

    /// The uses that are to be kept now: those of keys whose last kept use is `least` older.
    fn due(&self, least: TimeDelta) -> Vec<KeyUse> {
        self.lock().values().filter(|noted| noted.is_to_be_kept(least)).map(|noted| noted.last).collect()
    }

    fn kept(&self, uses: &[KeyUse], now: DateTime<Utc>) {
        let mut noted = self.lock();
        for used in uses {
            if let Some(noted) = noted.get_mut(&used.key_id) {
                noted.kept_at = Some(used.at);
            }
        }
        noted.retain(|_, noted| now - noted.last.at < FORGOTTEN_AFTER);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApiKeyId, Noted>> {
        // Nothing in here panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps them until `shutdown`, and then once more.
pub(crate) async fn keep(app: App, shutdown: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        keep_due(&app, AT_MOST_EVERY).await;
    }
    keep_due(&app, TimeDelta::zero()).await;
}

async fn keep_due(app: &App, least: TimeDelta) {
    let uses = app.key_uses.due(least);
    if uses.is_empty() {
        return;
    }
    match api_keys::note_uses(&app.database, &uses).await {
        Ok(()) => app.key_uses.kept(&uses, app.clock.now()),
        // They stay noted.
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "when keys were used could not be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use events::TenantId;

    use super::*;

    fn used(key_id: ApiKeyId, seconds: i64) -> KeyUse {
        let at = DateTime::from_timestamp(seconds, 0).unwrap();
        KeyUse { tenant_id: TenantId::SYSTEM, key_id, at }
    }

    #[test]
    fn a_first_use_is_kept_at_once_and_the_next_a_minute_later() {
        let (uses, key_id) = (KeyUses::default(), ApiKeyId::new());
        uses.note(used(key_id, 1_000));
        uses.note(used(key_id, 1_001));
        let due = uses.due(AT_MOST_EVERY);
        assert_eq!(due, [used(key_id, 1_001)]);
        uses.kept(&due, due[0].at);
        uses.note(used(key_id, 1_060));
        assert_eq!(uses.due(AT_MOST_EVERY), []);
        assert_eq!(uses.due(TimeDelta::zero()), [used(key_id, 1_060)], "at the end");
        uses.note(used(key_id, 1_061));
        assert_eq!(uses.due(AT_MOST_EVERY), [used(key_id, 1_061)]);
    }

    #[test]
    fn a_key_that_is_not_used_any_more_is_forgotten() {
        let (uses, key_id) = (KeyUses::default(), ApiKeyId::new());
        uses.note(used(key_id, 1_000));
        uses.kept(&[used(key_id, 1_000)], DateTime::from_timestamp(2_000, 0).unwrap());
        assert!(uses.lock().is_empty());
    }
}
