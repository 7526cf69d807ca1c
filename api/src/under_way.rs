//! Messages that are being answered, counted so that most are let in without a round trip.
//!
//! A limit of what is under way holds for all servers together, and what has been accepted is in the table `open_work` as
//! soon as the projection has seen it. As long as a tenant is far from its limit, a count that is a little old does: to it
//! comes what this server has let in since and the projection has not seen. From a quarter of the limit on, the database
//! decides about every single message. So up to four servers never let in more than the limit, however far behind the
//! projection is; each one more, a quarter more at worst.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use events::{JobId, Position, TenantId};
use projections::{Projection, reservations};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::App;

/// A count is used for so long.
const COUNTED_EVERY: Duration = Duration::from_millis(250);
/// Unless it says that the limit is near: then it is made anew, but no more often than this.
const COUNTED_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// Of the limit, how much is let in by the count.
const FAR_FROM_LIMIT: u32 = 4;
/// Tenants that are asked for something at the moment.
const TENANTS: usize = 10_000;

pub(crate) struct UnderWay {
    tenants: Cache<TenantId, Arc<Mutex<Turns>>>,
}

#[derive(Default)]
struct Turns {
    counted: Option<(Instant, u64)>,
    /// What this server let in and the count does not have, as far as is known.
    unseen: HashMap<JobId, Unseen>,
}

struct Unseen {
    let_in: Instant,
    /// `None`: it is not appended yet, or never will be.
    position: Option<Position>,
}

impl UnderWay {
    pub(crate) fn new() -> Self {
        Self { tenants: Cache::new(TENANTS) }
    }

    /// Whether the tenant is so far from its limit of `most` that one more message need not be reserved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn let_in(
        &self,
        app: &App,
        tenant_id: TenantId,
        job_id: JobId,
        most: u32,
    ) -> Result<bool, projections::Error> {
        let turns = self.of(tenant_id);
        let mut turns = turns.lock().await;
        let few = u64::from(most / FAR_FROM_LIMIT);
        if turns.is_older_than(COUNTED_EVERY)
            || turns.under_way() >= few && turns.is_older_than(COUNTED_AT_MOST_EVERY)
        {
            turns.count(app, tenant_id).await?;
        }
        let is_far = turns.under_way() < few;
        if is_far {
            turns.unseen.insert(job_id, Unseen { let_in: Instant::now(), position: None });
        }
        Ok(is_far)
    }

    /// The message stands in the log.
    pub(crate) async fn accepted(&self, tenant_id: TenantId, job_id: JobId, position: Position) {
        if let Some(unseen) = self.of(tenant_id).lock().await.unseen.get_mut(&job_id) {
            unseen.position = Some(position);
        }
    }

    /// The message is not accepted after all.
    pub(crate) async fn forget(&self, tenant_id: TenantId, job_id: JobId) {
        self.of(tenant_id).lock().await.unseen.remove(&job_id);
    }

    /// What was let in here and may not be in the tables yet.
    pub(crate) async fn unseen(&self, tenant_id: TenantId) -> u32 {
        u32::try_from(self.of(tenant_id).lock().await.unseen.len()).unwrap_or(u32::MAX)
    }

    fn of(&self, tenant_id: TenantId) -> Arc<Mutex<Turns>> {
        match self.tenants.get_or_insert_with(&tenant_id, || Ok::<_, Infallible>(Arc::default())) {
            Ok(turns) => turns,
            Err(never) => match never {},
        }
    }
}

impl Turns {
    fn is_older_than(&self, age: Duration) -> bool {
        self.counted.is_none_or(|(at, _)| at.elapsed() >= age)
    }

    /// At most so many; what the projection has seen since the count may be in it twice.
    fn under_way(&self) -> u64 {
        let counted = self.counted.map_or(0, |(_, counted)| counted);
        counted.saturating_add(self.unseen.len() as u64)
    }

    async fn count(&mut self, app: &App, tenant_id: TenantId) -> Result<(), projections::Error> {
        // Before the count, so that whatever is seen by now is in it.
        let (mut seen, lease) = (Vec::new(), app.config.reservation_lease);
        for (job_id, unseen) in &self.unseen {
            let is_over = match unseen.position {
                Some(position) => {
                    app.progress.reached(Projection::Budgets.name(), position, Duration::ZERO).await
                }
                None => unseen.let_in.elapsed() > lease,
            };
            if is_over {
                seen.push(*job_id);
            }
        }
        for job_id in seen {
            self.unseen.remove(&job_id);
        }
        let counted = reservations::turns_under_way(&app.database, tenant_id).await?;
        self.counted = Some((Instant::now(), counted));
        Ok(())
    }
}
