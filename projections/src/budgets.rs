//! Projection `budgets`: what was spent in every bucket of time, altogether, with each agent and by each key, and which
//! accepted work is not over. With its transaction the reservations of that work are made lasting, and settled
//! ([`crate::reservations`]).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::month;
use events::budget::BudgetScope;
use events::{Entry, Event, Payload};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{column, readable};
use crate::ledger::Line;
use crate::projection::Table;

pub(crate) const TABLES: &[Table] = &[
    Table { name: "budget_spending", key: &["tenant_id", "scope", "id", "starts_at", "partition"] },
    Table { name: "open_work", key: &["tenant_id", "work_id"] },
];

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    spend(&mut *connection, entries).await?;
    Changes::of(entries).apply(connection).await
}

/// Tenant, scope and id, and the bucket's beginning.
type Bucket = (Uuid, &'static str, Uuid, DateTime<Utc>);

async fn spend(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let Some(partition) = entries.first().map(|entry| i32::from(entry.position.partition)) else {
        return Ok(());
    };
    let mut spent: BTreeMap<Bucket, (Decimal, i64)> = BTreeMap::new();
    for (sequence, event) in readable(entries) {
        let tenant_id = event.envelope.aggregate.tenant_id.0;
        for Line { agent_id, cost_usd, .. } in Line::of(sequence, event) {
            let scopes = [
                Some((BudgetScope::Tenant, tenant_id)),
                Some((BudgetScope::Agent, agent_id.0)),
                event.envelope.origin.key_id.map(|key_id| (BudgetScope::Key, key_id.0)),
            ];
            let starts_at = month::bucket(event.envelope.time);
            for (scope, id) in scopes.into_iter().flatten().filter(|_| !cost_usd.is_zero()) {
                let bucket = spent.entry((tenant_id, scope.as_str(), id, starts_at)).or_default();
                *bucket = (bucket.0 + cost_usd, sequence);
            }
        }
    }
    if spent.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Bucket, (Decimal, i64))> = spent.into_iter().collect();
    sqlx::query!(
        "insert into budget_spending as old (tenant_id, scope, id, starts_at, partition, spent_usd, sequence)
         select tenant_id, scope, id, starts_at, $7, spent_usd, sequence
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::numeric[], $6::int8[])
            as spent (tenant_id, scope, id, starts_at, spent_usd, sequence)
         on conflict on constraint budget_spending_pkey do update set
            spent_usd = old.spent_usd + excluded.spent_usd, sequence = excluded.sequence
         where old.sequence < excluded.sequence",
        column!(rows, |row| row.0.0) as _,
        column!(rows, |row| row.0.1) as _,
        column!(rows, |row| row.0.2) as _,
        column!(rows, |row| row.0.3) as _,
        column!(rows, |row| row.1.0) as _,
        column!(rows, |row| row.1.1) as _,
        partition,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A job's or a call's, with its tenant's.
type WorkId = (Uuid, Uuid);

/// What kind of work is open. Written into the table.
pub(crate) mod kind {
    /// A written message.
    pub const TURN: &str = "turn";
    /// What a caller said.
    pub const SPOKEN: &str = "spoken";
    /// A message as a recording: it is over when its reply was spoken too.
    pub const RECORDING: &str = "recording";
    pub const CALL: &str = "call";
    /// A call that is over but for its summary.
    pub const SUMMARY: &str = "summary";
}

/// What a batch says of open work.
#[derive(Default)]
pub(crate) struct Changes<'a> {
    /// In the order of the log, without what the batch ends again.
    pub opened: BTreeMap<WorkId, Opened<'a>>,
    /// Calls that are over but for their summary.
    pub rung_off: Vec<WorkId>,
    /// Replies were given: the end of everything but recordings.
    pub replied: Vec<WorkId>,
    /// The end of whatever it was.
    pub ended: Vec<WorkId>,
}

pub(crate) struct Opened<'a> {
    pub sequence: i64,
    pub event: &'a Event,
    pub kind: &'static str,
}

impl<'a> Changes<'a> {
    pub(crate) fn of(entries: &'a [Entry]) -> Self {
        let mut changes = Self::default();
        for (sequence, event) in readable(entries) {
            changes.add(sequence, event);
        }
        changes
    }

    fn add(&mut self, sequence: i64, event: &'a Event) {
        let aggregate = event.envelope.aggregate;
        let of = |id: Uuid| (aggregate.tenant_id.0, id);
        match &event.payload {
            Payload::MessageReceived(message) => {
                let kind = if message.spoken.is_some() { kind::SPOKEN } else { kind::TURN };
                self.open(of(message.job_id.0), Opened { sequence, event, kind });
            }
            Payload::RecordingReceived(recording) => {
                self.open(of(recording.job_id.0), Opened { sequence, event, kind: kind::RECORDING });
            }
            Payload::CallStarted(_) => {
                self.open(of(aggregate.id), Opened { sequence, event, kind: kind::CALL });
            }
            Payload::ReplyCompleted(reply) => {
                let work = of(reply.job_id.0);
                if self.opened.get(&work).is_none_or(|opened| opened.kind != kind::RECORDING) {
                    self.opened.remove(&work);
                    self.replied.push(work);
                }
            }
            Payload::TurnFailed(failure) => self.end(of(failure.job_id.0)),
            Payload::ReplyVoiced(voiced) => self.end(of(voiced.job_id.0)),
            Payload::CallEnded(_) => match self.opened.get_mut(&of(aggregate.id)) {
                Some(opened) => opened.kind = kind::SUMMARY,
                None => self.rung_off.push(of(aggregate.id)),
            },
            Payload::CallSummarized(_) => self.end(of(aggregate.id)),
            _ => {}
        }
    }

    /// The words of a recording are the same work as the recording.
    fn open(&mut self, work: WorkId, opened: Opened<'a>) {
        self.opened.entry(work).or_insert(opened);
    }

    fn end(&mut self, work: WorkId) {
        self.opened.remove(&work);
        self.ended.push(work);
    }

    async fn apply(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let opened: Vec<(&WorkId, &Opened<'_>)> = self.opened.iter().collect();
        if !opened.is_empty() {
            sqlx::query!(
                "insert into open_work (tenant_id, work_id, kind, key_id, since, sequence)
                 select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::int8[])
                 on conflict on constraint open_work_pkey do nothing",
                column!(opened, |row| row.0.0) as _,
                column!(opened, |row| row.0.1) as _,
                column!(opened, |row| row.1.kind) as _,
                column!(opened, |row| row.1.event.envelope.origin.key_id.map(|key_id| key_id.0)) as _,
                column!(opened, |row| row.1.event.envelope.time) as _,
                column!(opened, |row| row.1.sequence) as _,
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.rung_off.is_empty() {
            sqlx::query!(
                "update open_work set kind = $3
                 from unnest($1::uuid[], $2::uuid[]) as call (tenant_id, work_id)
                 where open_work.tenant_id = call.tenant_id and open_work.work_id = call.work_id",
                column!(self.rung_off, |work| work.0) as _,
                column!(self.rung_off, |work| work.1) as _,
                kind::SUMMARY,
            )
            .execute(&mut *connection)
            .await?;
        }
        let over: Vec<(&WorkId, bool)> = self.over().collect();
        if !over.is_empty() {
            sqlx::query!(
                "delete from open_work using unnest($1::uuid[], $2::uuid[], $3::bool[]) as work (tenant_id, work_id, ended)
                 where open_work.tenant_id = work.tenant_id and open_work.work_id = work.work_id
                    and (work.ended or open_work.kind <> $4)",
                column!(over, |row| row.0.0) as _,
                column!(over, |row| row.0.1) as _,
                column!(over, |row| row.1) as _,
                kind::RECORDING,
            )
            .execute(connection)
            .await?;
        }
        Ok(())
    }

    /// All work that may be over, and whether it is over whatever it was.
    pub(crate) fn over(&self) -> impl Iterator<Item = (&WorkId, bool)> {
        let replied = self.replied.iter().map(|work| (work, false));
        replied.chain(self.ended.iter().map(|work| (work, true)))
    }
}
