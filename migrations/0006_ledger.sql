-- Projection `ledger`: what tenants owe, one entry per metered attempt on a closed bill. Entries are never updated.
create table usage_entries (
    tenant_id uuid not null,
    attempt_id uuid not null,
    session_id uuid not null,
    job_id uuid not null,
    agent_id uuid not null,
    channel text not null,
    provider text not null,
    model text not null,
    outcome text not null,
    tokens_in bigint not null,
    tokens_out bigint not null,
    estimated boolean not null,
    price_version text not null,
    cost_usd numeric(38, 12) not null,
    occurred_at timestamptz not null,
    sequence bigint not null,
    constraint usage_entries_pkey primary key (tenant_id, attempt_id)
);
create index usage_entries_occurred_at on usage_entries (tenant_id, occurred_at);
call guard_projection('usage_entries');
