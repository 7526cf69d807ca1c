-- Projection `calls`: calls as they are listed. Numbers stay sealed under the customer's key, for the event that began
-- the call; the summary for the event that carries it. A deleted call stays, unseen, so that a page that was read before
-- can still be followed by the next.
create table calls (
    tenant_id uuid not null,
    call_id uuid not null,
    session_id uuid not null,
    agent_id uuid not null,
    direction text not null,
    transport text not null,
    customer_key_id uuid not null,
    caller_ciphertext text,
    called_ciphertext text,
    sealed_event_id uuid not null,
    provider_call_sid text,
    metadata json not null,
    status text not null,
    worker_id text,
    end_reason text,
    duration_ms bigint,
    requests bigint,
    summary_key_id uuid,
    summary_ciphertext text,
    summary_event_id uuid,
    deleted boolean not null,
    started_at timestamptz not null,
    connected_at timestamptz,
    ended_at timestamptz,
    sequence bigint not null,
    constraint calls_pkey primary key (tenant_id, call_id)
) with (fillfactor = 80);
-- A call's id does not tell when it began: that of a carrier's call follows from the carrier's own.
create index calls_started_at on calls (tenant_id, started_at desc, call_id desc) where not deleted;
create index calls_active on calls (tenant_id) where ended_at is null and not deleted;
create index calls_provider_call_sid on calls (tenant_id, provider_call_sid) where provider_call_sid is not null;
call guard_projection('calls');

-- One row per turn of a call that was measured, in milliseconds.
create table call_turns (
    tenant_id uuid not null,
    call_id uuid not null,
    sequence bigint not null,
    job_id uuid not null,
    turn bigint not null,
    interrupted boolean not null,
    speech_ms bigint,
    endpointing_ms bigint,
    stt_ms bigint,
    first_token_ms bigint,
    first_sentence_ms bigint,
    first_audio_ms bigint,
    caller_gap_ms bigint,
    stt_provider text,
    llm_provider text,
    tts_provider text,
    measured_at timestamptz not null,
    constraint call_turns_pkey primary key (tenant_id, call_id, sequence)
);
create index call_turns_measured_at on call_turns (tenant_id, measured_at);
call guard_projection('call_turns');

-- Latencies are asked for by time; rows come in its order, so this costs next to nothing.
create index provider_calls_started_at on provider_calls using brin (started_at);
