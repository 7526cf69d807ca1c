-- Projection `webhooks`: whom tenants want told what, and what they were told. Secrets stand in the log only: nobody reads
-- them from here.
create table webhooks (
    tenant_id uuid not null,
    webhook_id uuid not null,
    version bigint not null,
    settings json not null,
    -- Null: we did not switch it off, or it is on again.
    disabled_reason text,
    disabled_at timestamptz,
    -- Until then the secret before the present one signs too; null: there was none.
    previous_secret_until timestamptz,
    deleted boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint webhooks_pkey primary key (tenant_id, webhook_id)
);
call guard_projection('webhooks');

create table webhook_deliveries (
    tenant_id uuid not null,
    delivery_id uuid not null,
    -- Null: it goes to an address that a message brought along, which `callback` holds sealed.
    webhook_id uuid,
    callback json,
    event_type text not null,
    event_id uuid not null,
    body text not null,
    seal_with uuid not null,
    -- pending, delivered or failed.
    status text not null,
    is_test boolean not null,
    -- Since it was queued last; `error_code` is of the last one.
    attempts bigint not null,
    error_code text,
    next_attempt_at timestamptz,
    created_at timestamptz not null,
    queued_at timestamptz not null,
    finished_at timestamptz,
    sequence bigint not null,
    constraint webhook_deliveries_pkey primary key (tenant_id, delivery_id)
);
create index webhook_deliveries_of_webhook on webhook_deliveries (tenant_id, webhook_id, delivery_id);
call guard_projection('webhook_deliveries');

-- Every request. What was answered is sealed by the key of the customer that it is about, else by the tenant's own.
create table webhook_attempts (
    tenant_id uuid not null,
    attempt_id uuid not null,
    delivery_id uuid not null,
    webhook_id uuid,
    number bigint not null,
    started_at timestamptz not null,
    duration_ms bigint not null,
    status integer,
    error_code text,
    response_key_id uuid,
    response_ciphertext text,
    response_cut boolean not null,
    sequence bigint not null,
    constraint webhook_attempts_pkey primary key (tenant_id, attempt_id)
);
create index webhook_attempts_of_delivery on webhook_attempts (tenant_id, delivery_id, attempt_id);
-- Whether an endpoint took anything since a time.
create index webhook_attempts_taken on webhook_attempts (tenant_id, webhook_id, started_at) where error_code is null;
call guard_projection('webhook_attempts');
