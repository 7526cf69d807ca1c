-- Projection `appointments`: who holds which time of an agent's calendar. No two rows of an agent overlap, because the
-- log takes a booking only on the condition that its calendar has not changed (docs/decisions/0015); `sequence` of the
-- newest row is that condition, hence the index.
create table appointments (
    tenant_id uuid not null,
    agent_id uuid not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    appointment_id uuid not null,
    session_id uuid not null,
    tool_call_id uuid not null,
    correlation_id text not null,
    name_key_id uuid not null,
    name_ciphertext text not null,
    phone_key_id uuid not null,
    phone_ciphertext text not null,
    sealed_event_id uuid not null,
    booked_at timestamptz not null,
    sequence bigint not null,
    constraint appointments_pkey primary key (tenant_id, agent_id, starts_at)
);
create index appointments_sequence on appointments (tenant_id, agent_id, sequence);
call guard_projection('appointments');
