-- Projection `configuration`: a key may have several secrets while one is being replaced by another, and may be good
-- for some agents only. A secret is found by the part of it that may be shown; its hash is compared by the program.
create table api_key_secrets (
    tenant_id uuid not null,
    key_id uuid not null,
    prefix text not null,
    key_hash text not null,
    ends_at timestamptz,
    sequence bigint not null,
    constraint api_key_secrets_pkey primary key (tenant_id, key_id, prefix)
);
insert into api_key_secrets (tenant_id, key_id, prefix, key_hash, sequence)
    select tenant_id, key_id, prefix, key_hash, sequence from api_keys;
create index api_key_secrets_prefix on api_key_secrets (prefix);
call guard_projection('api_key_secrets');

drop function api_key_of_hash(text);
drop index api_keys_key_hash;
alter table api_keys drop column key_hash;
alter table api_keys add column agent_ids uuid[], add column requests_per_minute bigint;

-- Asked before a tenant is known, as the owner, who may see all rows of these tables.
create policy lookups on api_key_secrets for select to vocalbridge_owner using (true);

create function api_keys_of_prefix(wanted text)
    returns table (tenant_id uuid, key_id uuid, name text, role text, prefix text, expires_at timestamptz,
        revoked_at timestamptz, created_at timestamptz, agent_ids uuid[], requests_per_minute bigint,
        sequence bigint, key_hash text, ends_at timestamptz)
    language sql stable security definer set search_path = vocalbridge, pg_temp
    as $$
        select key.tenant_id, key.key_id, key.name, key.role, key.prefix, key.expires_at, key.revoked_at,
            key.created_at, key.agent_ids, key.requests_per_minute, key.sequence, secret.key_hash, secret.ends_at
        from api_key_secrets as secret
            join api_keys as key on key.tenant_id = secret.tenant_id and key.key_id = secret.key_id
        where secret.prefix = wanted
    $$;
revoke all on function api_keys_of_prefix(text) from public;
grant execute on function api_keys_of_prefix(text) to vocalbridge_app;

-- When keys were last used, to the minute. NOT in the log and not rebuildable from it, for a use is no fact that
-- anything follows from: losing these rows loses nothing but the answer to "is this key still used?".
create table key_uses (
    tenant_id uuid not null,
    key_id uuid not null,
    last_used_at timestamptz not null,
    constraint key_uses_pkey primary key (tenant_id, key_id)
);
call guard_tenant_rows('key_uses');
grant select on key_uses to vocalbridge_app;
create policy noting on key_uses to vocalbridge_owner using (true) with check (true);

-- Of many tenants at once, hence as the owner. A process that is late never moves a time back.
create function note_key_uses(tenant_ids uuid[], key_ids uuid[], times timestamptz[]) returns void
    language sql security definer set search_path = vocalbridge, pg_temp
    as $$
        insert into key_uses (tenant_id, key_id, last_used_at)
        select * from unnest(tenant_ids, key_ids, times)
        on conflict on constraint key_uses_pkey do update
            set last_used_at = greatest(key_uses.last_used_at, excluded.last_used_at)
    $$;
revoke all on function note_key_uses(uuid[], uuid[], timestamptz[]) from public;
grant execute on function note_key_uses(uuid[], uuid[], timestamptz[]) to vocalbridge_app;
