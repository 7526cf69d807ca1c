-- Projection `ledger`: corrections are entries of their own, beside the entry that they correct; nothing is ever updated.
-- `repricing_number` says which re-pricing made one: a later one counts what all before it have left.
alter table usage_entries add column adjusts uuid, add column repricing_number bigint;
create index usage_entries_adjusts on usage_entries (tenant_id, adjusts) where adjusts is not null;

-- Re-pricings, under the system's id: they are the operator's.
create table repricings (
    tenant_id uuid not null,
    repricing_id uuid not null,
    number bigint not null,
    only_tenant_id uuid,
    period_from timestamptz not null,
    period_to timestamptz not null,
    prices json not null,
    reason text not null,
    dry_run boolean not null,
    status text not null,
    error text,
    created_at timestamptz not null,
    finished_at timestamptz,
    sequence bigint not null,
    constraint repricings_pkey primary key (tenant_id, repricing_id)
);
call guard_projection('repricings');

-- What each found, by tenant, kind, vendor and model.
create table repricing_differences (
    tenant_id uuid not null,
    repricing_id uuid not null,
    repriced_tenant_id uuid not null,
    kind text not null,
    provider text not null,
    model text not null,
    entries bigint not null,
    before_usd numeric(38, 12) not null,
    after_usd numeric(38, 12) not null,
    constraint repricing_differences_pkey primary key (tenant_id, repricing_id, repriced_tenant_id, kind, provider, model)
);
call guard_projection('repricing_differences');
