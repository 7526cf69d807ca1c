//! What the events of all of a tenant's MCP servers come to.

use events::mcp_server::{McpServerCreated, McpServerDeleted, McpServerSettings, McpServerUpdated};
use events::{Aggregate, McpServerId, Payload, TenantId};
use projections::configuration::mcp_servers::McpServerRecord;

use crate::routes::named::{Change, Kind, Thing};
use crate::routes::secret_headers::SealedHeaders;

pub(super) enum McpServers {}

pub(super) type Server = Thing<McpServers>;

impl Kind for McpServers {
    type Id = McpServerId;
    type Settings = McpServerSettings;
    const WORDS: (&str, &str) = ("MCP server", "MCP servers");
    const MOST: usize = 20;
    const CREATED: &str = "mcp_server.created";

    fn aggregate(tenant_id: TenantId) -> Aggregate {
        Aggregate::mcp_servers(tenant_id)
    }

    fn name(settings: &McpServerSettings) -> &str {
        &settings.name
    }

    fn headers(settings: &mut McpServerSettings) -> &mut SealedHeaders {
        &mut settings.headers
    }

    fn change(payload: &Payload) -> Option<Change<&McpServerSettings, Self>> {
        Some(match payload {
            Payload::McpServerCreated(made) => Change::Created(made.mcp_server_id, &made.settings),
            Payload::McpServerUpdated(changed) => {
                Change::Updated(changed.mcp_server_id, changed.version, &changed.settings)
            }
            Payload::McpServerDeleted(gone) => Change::Deleted(gone.mcp_server_id),
            _ => return None,
        })
    }

    fn payload(change: Change<McpServerSettings, Self>) -> Payload {
        match change {
            Change::Created(mcp_server_id, settings) => McpServerCreated { mcp_server_id, settings }.into(),
            Change::Updated(mcp_server_id, version, settings) => {
                McpServerUpdated { mcp_server_id, version, settings }.into()
            }
            Change::Deleted(mcp_server_id) => McpServerDeleted { mcp_server_id }.into(),
        }
    }
}

impl Server {
    pub(super) fn record(self, id: McpServerId) -> McpServerRecord {
        let Self { version, created_at, updated_at, settings, sequence } = self;
        McpServerRecord { id, version, settings, created_at, updated_at, sequence }
    }
}
