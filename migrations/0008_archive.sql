-- Projection `archive`: an independent copy of every entry of the log, byte for byte, readable or not. By month, so that
-- old months can be moved away. The key holds `recorded_at` because a partitioned key must.
create table archive (
    partition integer not null,
    sequence bigint not null,
    recorded_at timestamptz not null,
    subject text not null,
    raw_headers bytea not null,
    raw_payload bytea not null,
    event_id uuid,
    event_type text,
    event_time timestamptz,
    tenant_id uuid,
    session_id uuid,
    correlation_id text,
    constraint archive_pkey primary key (partition, sequence, recorded_at)
) partition by range (recorded_at);
create index archive_session on archive (tenant_id, session_id, sequence) where session_id is not null;
create index archive_correlation on archive (tenant_id, correlation_id);
create index archive_recorded_at on archive using brin (recorded_at);
call guard_projection('archive');

-- Makes the partition for the month of `at`. It runs as the owner, so that the projector needs no right to change the
-- schema. A partition is never addressed directly: it has no policy, which refuses everything.
create function ensure_archive_month(at timestamptz) returns void
    language plpgsql security definer set search_path = vocalbridge, pg_temp set timezone = 'UTC' as $$
declare
    month timestamptz := date_trunc('month', at);
    name text := 'archive_' || to_char(month, 'YYYY_MM');
begin
    if to_regclass(name) is not null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('vocalbridge.archive'));
    if to_regclass(name) is not null then
        return;
    end if;
    execute format('create table %I partition of archive for values from (%L) to (%L)',
        name, month, month + interval '1 month');
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
end
$$;
revoke all on function ensure_archive_month(timestamptz) from public;
grant execute on function ensure_archive_month(timestamptz) to vocalbridge_projector;
