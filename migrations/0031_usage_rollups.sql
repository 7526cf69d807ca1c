-- Projection `ledger`: sums of its entries by hour and by day of UTC, kept with them, so that a report over months does not
-- read every entry. One row per partition of the log: partitions never wait for each other, and a row follows from its
-- own partition alone. Sums are numeric: no count that a vendor ever tells may stop the projection. What was written
-- before is summed by applying the log again.
truncate usage_entries, repricings, repricing_differences;
delete from checkpoints where projection = 'ledger';

create table usage_rollups (
    tenant_id uuid not null,
    -- `hour` or `day`.
    grain text not null,
    starts_at timestamptz not null,
    partition integer not null,
    kind text not null,
    provider text not null,
    model text not null,
    agent_id uuid not null,
    channel text not null,
    entries bigint not null,
    -- Replies with the words of this provider and model.
    replies bigint not null,
    tokens_in numeric(38) not null,
    tokens_cached numeric(38) not null,
    tokens_out numeric(38) not null,
    audio_ms numeric(38) not null,
    characters numeric(38) not null,
    requests numeric(38) not null,
    cost_usd numeric(38, 12) not null,
    -- Of the last entry or reply that was added.
    sequence bigint not null,
    constraint usage_rollups_pkey
        primary key (tenant_id, grain, starts_at, partition, kind, provider, model, agent_id, channel)
);
call guard_projection('usage_rollups');
