-- How far each projection has come in each partition of the log. A batch of rows and its checkpoint commit together, so
-- Postgres alone says where reading goes on after a crash, and a second runner of the same partition is fenced off by
-- the old sequence it expects to find here.
create table checkpoints (
    projection text not null,
    partition integer not null,
    sequence bigint not null,
    constraint checkpoints_pkey primary key (projection, partition)
) with (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
grant select on checkpoints to vocalbridge_app;
grant select, insert, update on checkpoints to vocalbridge_projector;

-- Puts a tenant's rows behind row-level security. The application sees the tenant that its transaction names and
-- nothing when it names none; the projector, which has no tenant, sees all. Forced, so that it binds the owner too.
create procedure guard_tenant_rows(guarded regclass) language plpgsql set search_path = vocalbridge, pg_temp as $$
begin
    execute format('alter table %s enable row level security', guarded);
    execute format('alter table %s force row level security', guarded);
    execute format(
        'create policy own_tenant on %s to vocalbridge_app '
        'using (tenant_id = nullif(current_setting(''vocalbridge.tenant_id'', true), '''')::uuid) '
        'with check (tenant_id = nullif(current_setting(''vocalbridge.tenant_id'', true), '''')::uuid)', guarded);
end
$$;

-- A table of the read side: written by the projector, read by the application.
create procedure guard_projection(guarded regclass) language plpgsql set search_path = vocalbridge, pg_temp as $$
begin
    call guard_tenant_rows(guarded);
    execute format('create policy projector on %s to vocalbridge_projector using (true) with check (true)', guarded);
    execute format('grant select on %s to vocalbridge_app', guarded);
    execute format('grant select, insert, update, delete, truncate on %s to vocalbridge_projector', guarded);
end
$$;
