-- Projection `configuration`: tenants' own functions. Names are unique among those that are not deleted because the log
-- takes a function only on the condition that the tenant's functions have not changed (docs/decisions/0017). `settings`
-- holds the headers' values as ciphertext.
create table custom_functions (
    tenant_id uuid not null,
    function_id uuid not null,
    version bigint not null,
    name text not null,
    settings json not null,
    deleted boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint custom_functions_pkey primary key (tenant_id, function_id)
);
create index custom_functions_name on custom_functions (tenant_id, name) where not deleted;
call guard_projection('custom_functions');

-- A tool that is run by hand runs in no session, turn or job, and a function that is tested runs for no agent.
alter table tool_executions
    alter column session_id drop not null,
    alter column job_id drop not null,
    alter column turn_id drop not null,
    alter column agent_id drop not null;
