//! What the events of all of a tenant's MCP servers come to.

use events::mcp_server::McpServerSettings;
use events::{McpServerId, Payload};
use projections::configuration::mcp_servers::McpServerRecord;

use crate::routes::named::{All, Change, Kind, Thing};

pub(super) enum McpServers {}

/// All servers that are not deleted.
pub(super) type Servers = All<McpServers>;
pub(super) type Server = Thing<McpServers>;

impl Kind for McpServers {
    type Id = McpServerId;
    type Settings = McpServerSettings;
    const WORDS: (&str, &str) = ("MCP server", "MCP servers");
    const MOST: usize = 20;

    fn name(settings: &McpServerSettings) -> &str {
        &settings.name
    }

    fn change(payload: &Payload) -> Option<Change<'_, Self>> {
        Some(match payload {
            Payload::McpServerCreated(made) => Change::Created(made.mcp_server_id, &made.settings),
            Payload::McpServerUpdated(changed) => Change::Updated(changed.mcp_server_id, &changed.settings),
            Payload::McpServerDeleted(gone) => Change::Deleted(gone.mcp_server_id),
            _ => return None,
        })
    }
}

impl Server {
    pub(super) fn record(self, id: McpServerId) -> McpServerRecord {
        let Self { version, created_at, updated_at, settings, sequence } = self;
        McpServerRecord { id, version, settings, created_at, updated_at, sequence }
    }
}
