-- Projection `ledger`: speech and carriers, beside the requests to models. Their entries have no tokens, and the id of
-- the event that metered them in the place of the attempt's.
alter table usage_entries
    alter column job_id drop not null,
    add column kind text not null default 'model',
    add column audio_ms bigint not null default 0,
    add column characters bigint not null default 0,
    add column requests bigint not null default 0;
-- What a call cost is the sum over its session.
create index usage_entries_session_id on usage_entries (tenant_id, session_id);
