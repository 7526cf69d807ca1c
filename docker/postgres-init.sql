-- Who owns what in the database `vocalbridge`, run once by a superuser connected to it: by `vocalbridge dev` for its
-- private Postgres, and by the container's first start in docker-compose.yml. The passwords are set elsewhere.

-- Owns the schema, so migrations act as this role. Nobody logs in as it.
create role vocalbridge_owner nologin;

-- What the service logs in as. It owns nothing, so row-level security binds it.
create role vocalbridge login nosuperuser nocreatedb nocreaterole nobypassrls;

alter database vocalbridge owner to vocalbridge_owner;
revoke all on database vocalbridge from public;
grant connect on database vocalbridge to vocalbridge;
