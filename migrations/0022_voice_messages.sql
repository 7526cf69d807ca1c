-- Projection `voice_messages`: messages that are spoken outside of calls. The files lie in the object store, sealed by
-- the customer's key; here stands which there are.
create table artefacts (
    tenant_id uuid not null,
    artefact_id uuid not null,
    session_id uuid not null,
    -- An upload belongs to the customer's message, a reply to the assistant's.
    message_id uuid not null,
    kind text not null,
    media_type text not null,
    bytes bigint not null,
    -- Null: not known, an upload is decoded once and not measured here.
    audio_ms bigint,
    created_at timestamptz not null,
    sequence bigint not null,
    constraint artefacts_pkey primary key (tenant_id, artefact_id)
);
create index artefacts_message on artefacts (tenant_id, session_id, message_id);
call guard_projection('artefacts');

-- How the replies to them were spoken; a job without its row here is still under way.
create table voiced_replies (
    tenant_id uuid not null,
    job_id uuid not null,
    session_id uuid not null,
    message_id uuid not null,
    -- Null: nothing was spoken; then the failure says why, unless there was nothing to say.
    artefact_id uuid,
    failure_code text,
    failure_detail text,
    stt_ms bigint not null,
    llm_ms bigint not null,
    tts_ms bigint not null,
    voiced_at timestamptz not null,
    sequence bigint not null,
    constraint voiced_replies_pkey primary key (tenant_id, job_id)
);
create index voiced_replies_message on voiced_replies (tenant_id, session_id, message_id);
call guard_projection('voiced_replies');
