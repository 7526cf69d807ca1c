-- Folded aggregates up to a sequence, to save reading their history again. A cache: unlogged, and lost after a crash.
create unlogged table snapshots (
    tenant_id uuid not null,
    family text not null,
    id uuid not null,
    sequence bigint not null,
    state json not null,
    constraint snapshots_pkey primary key (tenant_id, family, id)
) with (fillfactor = 70);
call guard_tenant_rows('snapshots');
grant select, insert, update, delete on snapshots to vocalbridge_app;
