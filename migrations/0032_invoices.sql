-- Projection `ledger`: invoices. Which one an entry stands on follows from its place in the log, so an entry knows its
-- partition beside its sequence; and from the month that it belongs to, which for a correction is that of the entry
-- that it corrects. What was written before knows neither, so the table is made again from the log.
truncate usage_entries, usage_rollups, repricings, repricing_differences;
delete from checkpoints where projection = 'ledger';
alter table usage_entries
    add column partition integer not null,
    add column belongs_at timestamptz not null;
-- What came after a month was closed.
create index usage_entries_sequence on usage_entries (tenant_id, partition, sequence);

-- Months that are closed. `invoices` are those of tenants' customers, which tools look up.
create table closed_invoices (
    tenant_id uuid not null,
    invoice_id uuid not null,
    -- `2026-11`.
    month text not null,
    time_zone text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    -- By partition: what stands behind this in the log is not on the invoice.
    through bigint[] not null,
    entries bigint not null,
    total_usd numeric(38, 12) not null,
    closed_at timestamptz not null,
    sequence bigint not null,
    constraint closed_invoices_pkey primary key (tenant_id, month)
);
create index closed_invoices_ends_at on closed_invoices (tenant_id, ends_at);
call guard_projection('closed_invoices');

-- Asked for all tenants at once, hence as the owner: those whose last closed month ended so long before `until` that
-- the next one may be over, and those that have none and were there before.
create policy lookups on closed_invoices for select to vocalbridge_owner using (true);
create function tenants_to_invoice(until timestamptz, after uuid, most bigint)
    returns table (tenant_id uuid, time_zone text, created_at timestamptz)
    language sql stable security definer set search_path = vocalbridge, pg_temp
    as $$
        select known.tenant_id, known.time_zone, known.created_at from tenants as known
        where (after is null or known.tenant_id > after)
            and coalesce((select max(ends_at) + interval '27 days' from closed_invoices as closed
                where closed.tenant_id = known.tenant_id), known.created_at) < until
        order by known.tenant_id limit most
    $$;
revoke all on function tenants_to_invoice(timestamptz, uuid, bigint) from public;
grant execute on function tenants_to_invoice(timestamptz, uuid, bigint) to vocalbridge_app;
