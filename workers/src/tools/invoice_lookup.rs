//! `invoice_lookup`: the tenant's own invoices, and nobody else's.

use events::TenantId;
use projections::configuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ToolError, read};
use crate::{Workers, away};

pub(super) use domain::tools::INVOICE_LOOKUP as NAME;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    invoice_id: String,
}

pub(super) async fn run(
    workers: &Workers,
    tenant_id: TenantId,
    arguments: &Value,
) -> Result<Value, ToolError> {
    let Arguments { invoice_id } = read(arguments)?;
    let number = invoice_id.trim().to_ascii_uppercase();
    let found = configuration::invoice(&workers.database, tenant_id, &number)
        .await
        .map_err(|error| ToolError::Away(away(error)))?;
    match found {
        Some(invoice) => Ok(json!({
            "invoice_id": invoice.number,
            "amount": format!("{:.2}", invoice.amount),
            "currency": invoice.currency,
            "status": invoice.status.as_str(),
            "description": invoice.description,
        })),
        None => Err(ToolError::Refused(format!("there is no invoice {number}"))),
    }
}
