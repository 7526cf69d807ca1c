//! Events about the installation itself.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A worker gave up on a delivery; a copy of it waits in the dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryParked {
    pub consumer: String,
    /// Of the delivery that was given up.
    pub partition: u16,
    pub sequence: u64,
    pub reason: String,
    /// How often it was tried.
    pub deliveries: u32,
}

/// Jobs that finished long ago leave the list of jobs: those of the event's own partition that stand before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobsRetired {
    pub finished_before: DateTime<Utc>,
}
