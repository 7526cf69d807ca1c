-- Projection `configuration`: what tenants set up. `sequence` is the log's, and guards every write: an older event
-- never overwrites a newer one. JSON is kept as text in `json`, not `jsonb`, which cannot hold every string.
create table tenants (
    tenant_id uuid not null,
    name text not null,
    webhook_secret_key_id uuid not null,
    webhook_secret_ciphertext text not null,
    webhook_secret_event_id uuid not null,
    created_at timestamptz not null,
    sequence bigint not null,
    constraint tenants_pkey primary key (tenant_id)
);
call guard_projection('tenants');

create table api_keys (
    tenant_id uuid not null,
    key_id uuid not null,
    name text not null,
    role text not null,
    prefix text not null,
    key_hash text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null,
    sequence bigint not null,
    constraint api_keys_pkey primary key (tenant_id, key_id)
);
create index api_keys_key_hash on api_keys (key_hash);
call guard_projection('api_keys');

create table agents (
    tenant_id uuid not null,
    agent_id uuid not null,
    version bigint not null,
    settings json not null,
    deleted boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint agents_pkey primary key (tenant_id, agent_id)
);
call guard_projection('agents');

create table invoices (
    tenant_id uuid not null,
    invoice_number text not null,
    amount numeric not null,
    currency text not null,
    status text not null,
    description text not null,
    recorded_at timestamptz not null,
    sequence bigint not null,
    constraint invoices_pkey primary key (tenant_id, invoice_number)
);
call guard_projection('invoices');

-- The two questions that are asked before a tenant is known. They run as the owner, who may see all rows of exactly
-- these two tables.
create policy lookups on api_keys for select to vocalbridge_owner using (true);
create policy lookups on tenants for select to vocalbridge_owner using (true);

create function api_key_of_hash(wanted text) returns setof api_keys
    language sql stable security definer set search_path = vocalbridge, pg_temp
    as $$ select * from api_keys where key_hash = wanted limit 1 $$;

create function all_tenants(after uuid, most bigint) returns setof tenants
    language sql stable security definer set search_path = vocalbridge, pg_temp
    as $$ select * from tenants where after is null or tenant_id < after order by tenant_id desc limit most $$;

revoke all on function api_key_of_hash(text), all_tenants(uuid, bigint) from public;
grant execute on function api_key_of_hash(text), all_tenants(uuid, bigint) to vocalbridge_app;
