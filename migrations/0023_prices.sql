-- Projection `configuration`: price lists, all versions of them: what was charged is explained by the list that it was
-- charged by. The list for everybody is the system's, under the nil tenant; a tenant's own holds what was agreed with it.
create table price_lists (
    tenant_id uuid not null,
    version bigint not null,
    event_id uuid not null,
    effective_from timestamptz not null,
    origin text not null,
    prices json not null,
    created_at timestamptz not null,
    sequence bigint not null,
    constraint price_lists_pkey primary key (tenant_id, version)
);
create index price_lists_effective_from on price_lists (tenant_id, effective_from);
call guard_projection('price_lists');

-- Projections `ledger` and `provider_calls`: what of `tokens_in` the vendor had kept from a request before.
alter table usage_entries add column tokens_cached bigint not null default 0;
alter table provider_calls add column tokens_cached bigint not null default 0;
