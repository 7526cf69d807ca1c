-- Projection `provider_calls`: every request to a vendor, failed ones too.
create table provider_calls (
    tenant_id uuid not null,
    attempt_id uuid not null,
    session_id uuid not null,
    job_id uuid not null,
    turn_id uuid not null,
    agent_id uuid not null,
    correlation_id text not null,
    provider text not null,
    model text not null,
    number bigint not null,
    outcome text not null,
    error_code text,
    error text,
    status integer,
    started_at timestamptz not null,
    latency_ms bigint not null,
    first_token_ms bigint,
    tokens_in bigint not null,
    tokens_out bigint not null,
    estimated boolean not null,
    cost_usd numeric(38, 12) not null,
    price_version text not null,
    created_at timestamptz not null,
    sequence bigint not null,
    constraint provider_calls_pkey primary key (tenant_id, attempt_id)
);
create index provider_calls_session on provider_calls (tenant_id, session_id, attempt_id);
create index provider_calls_correlation on provider_calls (tenant_id, correlation_id);
create index provider_calls_job on provider_calls (tenant_id, job_id);
call guard_projection('provider_calls');
