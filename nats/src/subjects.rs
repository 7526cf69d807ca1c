//! The names on the wire.
//!
//! `evt.<pp>.<tenant>.<family>.<id>.<lane>`: a session costs two or three subjects, a worker's consumer has one
//! wildcard filter, projections read unfiltered.

use events::{Aggregate, CallId, JobId, Lane, TenantId};

/// The partition of an aggregate. FNV-1a over tenant and id, so that a session and the facts beside it share one
/// stream; fixed for the life of an installation.
pub fn partition_of(aggregate: &Aggregate, partitions: u16) -> u16 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = aggregate.tenant_id.0.as_bytes().iter().chain(aggregate.id.as_bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    (hash % u64::from(partitions.max(1))) as u16
}

pub fn event(partition: u16, aggregate: &Aggregate, lane: Lane) -> String {
    format!("{}.{}", aggregate_prefix(partition, aggregate), lane.as_str())
}

/// Everything of one aggregate.
pub fn aggregate_filter(partition: u16, aggregate: &Aggregate) -> String {
    format!("{}.>", aggregate_prefix(partition, aggregate))
}

fn aggregate_prefix(partition: u16, aggregate: &Aggregate) -> String {
    let Aggregate { tenant_id, family, id } = aggregate;
    format!("evt.{partition:02}.{}.{}.{}", tenant_id.token(), family.as_str(), id.as_hyphenated())
}

/// Everything of one partition.
pub fn partition_filter(partition: u16) -> String {
    format!("evt.{partition:02}.>")
}

/// All work of one lane.
pub fn lane_filter(lane: Lane) -> String {
    format!("evt.*.*.*.*.{}", lane.as_str())
}

/// The tenant in an event's subject.
pub fn tenant_of(subject: &str) -> &str {
    subject.split('.').nth(2).unwrap_or_default()
}

pub fn stream(partition: u16) -> String {
    format!("EVENTS_{partition:02}")
}

/// Where the messages of a stream are asked for.
pub fn direct_get(stream: &str) -> String {
    format!("$JS.API.DIRECT.GET.{stream}")
}

/// What happens to a job while it runs, for whoever listens now.
pub fn live(job_id: JobId, what: &str) -> String {
    format!("live.{job_id}.{what}")
}

/// What a call's socket tells its media worker.
pub fn media_up(call_id: CallId) -> String {
    format!("media.{call_id}.up")
}

/// What a call's media worker tells its socket.
pub fn media_down(call_id: CallId) -> String {
    format!("media.{call_id}.down")
}

/// A call's recording.
pub fn recording(tenant_id: TenantId, call_id: CallId) -> String {
    format!("rec.{}.{call_id}", tenant_id.token())
}

/// What happens to a call while it lasts, for whoever talks in it.
pub fn live_call(call_id: CallId) -> String {
    format!("call.{call_id}")
}

/// Where whoever answers a job is asked to stop.
pub fn cancel(job_id: JobId) -> String {
    format!("cancel.{job_id}")
}

/// What processes let through of limits that they share.
pub(crate) const RATES: &str = "rates";

pub const CANCEL_FILTER: &str = "cancel.*";

/// The job in such a subject.
pub fn cancelled_job(subject: &str) -> Option<JobId> {
    subject.strip_prefix("cancel.").and_then(|job_id| job_id.parse().ok())
}

/// Where a timer is set and kept until it is due.
pub fn timer_set(kind: &str, id: &str) -> String {
    format!("timer.set.{kind}.{id}")
}

/// Where a timer appears when it is due.
pub fn timer_due(kind: &str, id: &str) -> String {
    format!("timer.due.{kind}.{id}")
}

pub fn timer_due_filter(kind: &str) -> String {
    format!("timer.due.{kind}.>")
}

pub fn dead_letter(consumer: &str, tenant: &str) -> String {
    format!("dlq.{consumer}.{tenant}")
}

#[cfg(test)]
mod tests {
    use events::{Aggregate, SessionId, TenantId};

    use super::*;

    #[test]
    fn a_session_and_the_facts_beside_it_share_a_partition() {
        for _ in 0..100 {
            let (tenant_id, session_id) = (TenantId::new(), SessionId::new());
            let session = partition_of(&Aggregate::session(tenant_id, session_id), 16);
            assert_eq!(session, partition_of(&Aggregate::session_facts(tenant_id, session_id), 16));
            assert!(session < 16);
        }
    }

    #[test]
    fn the_partition_of_a_known_aggregate_never_changes() {
        let aggregate =
            Aggregate::session(TenantId(uuid::Uuid::from_u128(1)), SessionId(uuid::Uuid::from_u128(2)));
        assert_eq!(partition_of(&aggregate, 16), 12);
    }
}
