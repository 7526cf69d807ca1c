-- Projection `configuration`: a tenant's own settings, what it may have under way, and what it may spend. A tenant
-- without a row in `limits` has the defaults of the program.
alter table tenants add column time_zone text not null default 'UTC';

create table limits (
    tenant_id uuid not null,
    requests_per_minute bigint not null,
    concurrent_turns bigint not null,
    concurrent_calls bigint not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint limits_pkey primary key (tenant_id)
);
call guard_projection('limits');

create table budgets (
    tenant_id uuid not null,
    -- `tenant`, `agent` or `key`, and whose.
    scope text not null,
    id uuid not null,
    monthly_limit_usd numeric(38, 12) not null,
    -- Parts of the limit, ascending.
    alert_at numeric[] not null,
    hard boolean not null,
    removed boolean not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint budgets_pkey primary key (tenant_id, scope, id)
);
call guard_projection('budgets');
