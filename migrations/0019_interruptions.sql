-- Projection `transcripts`: what was heard of replies that were interrupted, beside the replies themselves: either may
-- come first, and a reply that is never completed has no row of its own. Without words nothing was heard.
create table interruptions (
    tenant_id uuid not null,
    session_id uuid not null,
    job_id uuid not null,
    message_id uuid not null,
    heard_key_id uuid,
    heard_ciphertext text,
    event_id uuid not null,
    heard_ms bigint not null,
    created_at timestamptz not null,
    correlation_id text not null,
    sequence bigint not null,
    constraint interruptions_pkey primary key (tenant_id, session_id, job_id)
);
call guard_projection('interruptions');
