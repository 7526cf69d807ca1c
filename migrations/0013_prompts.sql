-- Projection `configuration`: system prompts. Deleted ones stay, with all their versions: a turn is explained by the
-- version that it used, long after.
create table prompts (
    tenant_id uuid not null,
    prompt_id uuid not null,
    version bigint not null,
    settings json not null,
    deleted boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint prompts_pkey primary key (tenant_id, prompt_id)
);
call guard_projection('prompts');

create table prompt_versions (
    tenant_id uuid not null,
    prompt_id uuid not null,
    version bigint not null,
    settings json not null,
    created_at timestamptz not null,
    constraint prompt_versions_pkey primary key (tenant_id, prompt_id, version)
);
call guard_projection('prompt_versions');

-- One row per tenant that ever chose: a tenant has one default, or none (docs/decisions/0018).
create table default_prompts (
    tenant_id uuid not null,
    prompt_id uuid,
    sequence bigint not null,
    constraint default_prompts_pkey primary key (tenant_id)
);
call guard_projection('default_prompts');

-- Which agents use a prompt is asked before it is deleted. A column of its own, because Postgres cannot be asked about
-- `settings` when a text in it has a NUL.
alter table agents add column system_prompt_id uuid;
create index agents_system_prompt_id on agents (tenant_id, system_prompt_id) where system_prompt_id is not null;

-- Projection `transcripts`: what the customer's session gives the prompt, and which prompt a reply came from.
alter table sessions add column prompt_variables_ciphertext text;
alter table messages add column agent_version bigint, add column prompt_id uuid, add column prompt_version bigint;
