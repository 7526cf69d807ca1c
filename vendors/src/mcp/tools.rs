//! What a server offers, page after page.

use rmcp::model::PaginatedRequestParams;
use serde_json::{Map, Value};

use super::sessions::Peer;
use super::{McpFailed, failed};

/// Tools of one server that are looked at, in the server's order.
pub const MAX_TOOLS: usize = 128;
/// A server that has not shown so many tools by then is not asked on.
const MAX_PAGES: usize = 16;

/// A tool as the server describes it: words from outside, to be judged by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedTool {
    pub name: String,
    pub description: String,
    pub input_schema: Map<String, Value>,
}

/// What a server offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub tools: Vec<ListedTool>,
    /// There are more, which were not looked at.
    pub more: bool,
}

pub(super) async fn list(peer: &Peer) -> Result<Listed, McpFailed> {
    let mut listed = Listed { tools: Vec::new(), more: false };
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let page = peer.list_tools(Some(params)).await.map_err(failed)?;
        for tool in page.tools {
            if listed.tools.len() == MAX_TOOLS {
                listed.more = true;
                return Ok(listed);
            }
            listed.tools.push(ListedTool {
                name: tool.name.into_owned(),
                description: tool.description.unwrap_or_default().into_owned(),
                input_schema: tool.input_schema.as_ref().clone(),
            });
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(listed);
        }
    }
    listed.more = true;
    Ok(listed)
}
