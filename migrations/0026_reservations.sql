-- Projection `budgets`: what was spent, and what is under way. The buckets of `budget_spending` are those of
-- `domain::month`: every clock's months are sums of whole ones, so the table does not depend on the tenant's time zone,
-- which another history tells. One row per partition of the log, so that partitions never wait for each other.
create table budget_spending (
    tenant_id uuid not null,
    -- `tenant`, `agent` or `key`, and whose.
    scope text not null,
    id uuid not null,
    starts_at timestamptz not null,
    partition integer not null,
    spent_usd numeric(38, 12) not null,
    sequence bigint not null,
    constraint budget_spending_pkey primary key (tenant_id, scope, id, starts_at, partition)
);
call guard_projection('budget_spending');

-- Work that was accepted and is not over.
create table open_work (
    tenant_id uuid not null,
    -- A job's or a call's.
    work_id uuid not null,
    -- `turn`, `spoken` (in a call), `recording`, `call`; `summary`: a call that is over but for its summary.
    kind text not null,
    -- Whose work it is; null: nobody's, as a call that comes in.
    key_id uuid,
    since timestamptz not null,
    sequence bigint not null,
    constraint open_work_pkey primary key (tenant_id, work_id)
);
call guard_projection('open_work');

-- The running reservations. NOT in the log and not a projection: what work may cost is held back here before it is
-- accepted, and goes when its costs are spent. Messages that no hard budget concerns have none: their number is known from
-- `open_work`. Lost, what calls hold is filled from there, and workers reserve anew. A reservation without
-- `lease_until` is of accepted work, and stays until that ends; one with it counts until then.
create table reservations (
    tenant_id uuid not null,
    work_id uuid not null,
    -- `turn`, `call`: they count against the limits of what may be under way; `other`: it does not.
    kind text not null,
    agent_id uuid,
    key_id uuid,
    reserved_usd numeric(38, 12) not null,
    lease_until timestamptz,
    constraint reservations_pkey primary key (tenant_id, work_id)
);
call guard_tenant_rows('reservations');
create policy projector on reservations to vocalbridge_projector using (true) with check (true);
grant select, insert, update, delete on reservations to vocalbridge_app, vocalbridge_projector;

-- The messages that are being answered; those that hold a lease are not among them yet.
create function turns_under_way(wanted_tenant uuid) returns bigint
    language sql stable set search_path = vocalbridge, pg_temp
    as $$
    select count(*) from open_work where tenant_id = wanted_tenant and kind in ('turn', 'recording')
$$;
revoke all on function turns_under_way(uuid) from public;
grant execute on function turns_under_way(uuid) to vocalbridge_app;

-- Raises the reservation of `wanted_work` to `wanted_usd`, or makes it, if budgets and limits have room for it; answers
-- why not, or nothing. A function, because a statement that waits for a lock looks at the rows as they were before it
-- waited, and because one round trip holds the lock for as short as can be. Tenants do not wait for each other. What is
-- lost in a crash of Postgres is filled from the log, so nobody waits for the disk either.
create function reserve(
    wanted_tenant uuid, wanted_work uuid, wanted_kind text, wanted_agent uuid, wanted_key uuid, wanted_usd numeric,
    lease interval, month_from timestamptz, month_until timestamptz, most_turns bigint, most_calls bigint,
    most_agent_calls bigint
) returns table (refused text, scope text, id uuid, remaining_usd numeric)
    language plpgsql set search_path = vocalbridge, pg_temp
    -- Rows come and go by the thousand. A scan of the index marks those that are gone, and the next one passes over them.
    set enable_seqscan = off set enable_bitmapscan = off
    as $$
#variable_conflict use_column
declare
    present numeric;
    turns bigint;
    calls bigint;
    agent_calls bigint;
    stale bigint;
begin
    perform set_config('vocalbridge.tenant_id', wanted_tenant::text, true), set_config('synchronous_commit', 'off', true);
    perform pg_advisory_xact_lock(hashtextextended('reservations ' || wanted_tenant, 0));
    select reserved_usd into present from reservations
        where tenant_id = wanted_tenant and work_id = wanted_work
            and (lease_until is null or lease_until > clock_timestamp());
    if present >= wanted_usd then
        return;
    end if;
    if present is null then
        select count(*) filter (where kind = 'turn' and is_live and lease_until is not null),
            count(*) filter (where kind = 'call' and is_live),
            count(*) filter (where kind = 'call' and is_live and agent_id = wanted_agent),
            count(*) filter (where not is_live)
            into turns, calls, agent_calls, stale
            from (
                select kind, agent_id, lease_until, lease_until is null or lease_until > clock_timestamp() as is_live
                from reservations where tenant_id = wanted_tenant
            ) as under_way;
        turns := turns + turns_under_way(wanted_tenant);
        if stale > 0 then
            -- They count for nothing and are only in the way. A row that somebody holds is left to them.
            delete from reservations where tenant_id = wanted_tenant and work_id in (
                select work_id from reservations where tenant_id = wanted_tenant and lease_until <= clock_timestamp()
                for update skip locked
            );
        end if;
        refused := case
            when wanted_kind = 'turn' and turns >= most_turns then 'turns'
            when wanted_kind = 'call' and calls >= most_calls then 'calls'
            when wanted_kind = 'call' and agent_calls >= most_agent_calls then 'agent_calls'
        end;
        if refused is not null then
            return next;
            return;
        end if;
    end if;
    return query
        select 'budget', budgets.scope, budgets.id, budgets.monthly_limit_usd - spent.usd - held.usd
        from budgets
        cross join lateral (
            select coalesce(sum(spent_usd), 0) as usd from budget_spending
            where tenant_id = wanted_tenant and budget_spending.scope = budgets.scope
                and budget_spending.id = budgets.id and starts_at >= month_from and starts_at < month_until
        ) as spent
        cross join lateral (
            select coalesce(sum(reserved_usd), 0) as usd from reservations
            where tenant_id = wanted_tenant and work_id <> wanted_work
                and (lease_until is null or lease_until > clock_timestamp())
                and (budgets.scope = 'tenant' or (budgets.scope = 'agent' and agent_id = budgets.id)
                    or (budgets.scope = 'key' and key_id = budgets.id))
        ) as held
        where budgets.tenant_id = wanted_tenant and budgets.hard and not budgets.removed
            and (budgets.scope = 'tenant' or (budgets.scope = 'agent' and budgets.id = wanted_agent)
                or (budgets.scope = 'key' and budgets.id = wanted_key))
            and budgets.monthly_limit_usd - spent.usd - held.usd < wanted_usd
        order by 4 limit 1;
    if found then
        return;
    end if;
    insert into reservations as old (tenant_id, work_id, kind, agent_id, key_id, reserved_usd, lease_until)
        values (
            wanted_tenant, wanted_work, wanted_kind, wanted_agent, wanted_key, wanted_usd,
            -- Work that is accepted and had no reservation, because there was no budget then, has one that lasts.
            case when not exists (select from open_work where tenant_id = wanted_tenant and work_id = wanted_work)
                then clock_timestamp() + lease end
        )
        on conflict on constraint reservations_pkey do update set
            agent_id = excluded.agent_id, key_id = excluded.key_id, reserved_usd = excluded.reserved_usd,
            lease_until = case when old.lease_until is null then null else excluded.lease_until end;
end
$$;
revoke all on function reserve(
    uuid, uuid, text, uuid, uuid, numeric, interval, timestamptz, timestamptz, bigint, bigint, bigint
) from public;
grant execute on function reserve(
    uuid, uuid, text, uuid, uuid, numeric, interval, timestamptz, timestamptz, bigint, bigint, bigint
) to vocalbridge_app;
