-- Projection `transcripts`: conversations as people read them. Words stay sealed: a value is the key's id, the
-- ciphertext, and the event it was sealed for.
create table sessions (
    tenant_id uuid not null,
    session_id uuid not null,
    agent_id uuid not null,
    channel text not null,
    customer_key_id uuid not null,
    customer_ciphertext text not null,
    customer_event_id uuid not null,
    created_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    sequence bigint not null,
    constraint sessions_pkey primary key (tenant_id, session_id)
);
create index sessions_created_at on sessions (tenant_id, created_at);
call guard_projection('sessions');

-- A message's place in its session is its event's place in the log.
create table messages (
    tenant_id uuid not null,
    session_id uuid not null,
    sequence bigint not null,
    message_id uuid not null,
    role text not null,
    content_key_id uuid not null,
    content_ciphertext text not null,
    content_event_id uuid not null,
    created_at timestamptz not null,
    job_id uuid not null,
    correlation_id text not null,
    agent_id uuid,
    channel text,
    provider text,
    model text,
    tokens_in bigint,
    tokens_out bigint,
    cost_usd numeric(38, 12),
    latency_ms bigint,
    tools_called json,
    attempts bigint,
    constraint messages_pkey primary key (tenant_id, session_id, sequence)
);
-- Replies are counted by time, for the usage report.
create index messages_replies on messages (tenant_id, created_at) where role = 'assistant';
call guard_projection('messages');
