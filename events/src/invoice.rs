//! The tenant's invoices, as `invoice_lookup` finds them.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    Paid,
    Pending,
    Overdue,
}

impl InvoiceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Pending => "pending",
            Self::Overdue => "overdue",
        }
    }
}

/// An invoice was entered, or entered again with other values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvoiceRecorded {
    /// The tenant's own number, such as `INV-TC-001`.
    pub invoice_id: String,
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    pub status: InvoiceStatus,
    pub description: String,
}
