-- The keyring: the data keys that seal what customers said. NOT in the log and not rebuildable from it: dropping a row
-- here is what erases a person. Keys are stored wrapped (AES-256-GCM): the tenant's under the installation's secret key,
-- a customer's under the tenant's. The customer's name is kept only as a hash that is keyed with the tenant's key.
create table tenant_keys (
    tenant_id uuid not null,
    wrapped bytea not null,
    created_at timestamptz not null default now(),
    constraint tenant_keys_pkey primary key (tenant_id)
);
call guard_tenant_rows('tenant_keys');
grant select, insert, delete on tenant_keys to vocalbridge_app;

create table customer_keys (
    tenant_id uuid not null,
    key_id uuid not null,
    customer_id_hash bytea not null,
    wrapped bytea not null,
    created_at timestamptz not null default now(),
    constraint customer_keys_pkey primary key (tenant_id, key_id),
    constraint customer_keys_customer unique (tenant_id, customer_id_hash)
);
call guard_tenant_rows('customer_keys');
grant select, insert, delete on customer_keys to vocalbridge_app;
