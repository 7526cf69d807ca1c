-- Projection `tool_executions`: every run of a tool.
create table tool_executions (
    tenant_id uuid not null,
    tool_call_id uuid not null,
    session_id uuid not null,
    job_id uuid not null,
    turn_id uuid not null,
    agent_id uuid not null,
    correlation_id text not null,
    name text not null,
    arguments_key_id uuid not null,
    arguments_ciphertext text not null,
    status text not null,
    result_key_id uuid not null,
    result_ciphertext text not null,
    sealed_event_id uuid not null,
    latency_ms bigint not null,
    created_at timestamptz not null,
    sequence bigint not null,
    constraint tool_executions_pkey primary key (tenant_id, tool_call_id)
);
create index tool_executions_session on tool_executions (tenant_id, session_id, tool_call_id);
create index tool_executions_correlation on tool_executions (tenant_id, correlation_id);
create index tool_executions_job on tool_executions (tenant_id, job_id);
call guard_projection('tool_executions');
