-- Projection `configuration`: tenants' MCP servers. Names are unique among those that are not deleted because the log takes
-- a server only on the condition that the tenant's servers have not changed (docs/decisions/0021). `settings` holds the
-- headers' values as ciphertext. What servers offer is asked of them and stands in no table.
create table mcp_servers (
    tenant_id uuid not null,
    mcp_server_id uuid not null,
    version bigint not null,
    name text not null,
    settings json not null,
    deleted boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    sequence bigint not null,
    constraint mcp_servers_pkey primary key (tenant_id, mcp_server_id)
);
create index mcp_servers_name on mcp_servers (tenant_id, name) where not deleted;
call guard_projection('mcp_servers');
