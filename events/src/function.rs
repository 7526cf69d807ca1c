//! A tenant's own functions: tools that are a request to an address of the tenant's. All of a tenant's functions are one
//! history (family `functions`, under the tenant's id), because names are unique in it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EventId, FunctionId, Sealed};

/// How a function is asked. `GET` sends the arguments as query parameters, the others as a JSON body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum FunctionMethod {
    Get,
    Post,
    Put,
    Patch,
}

impl FunctionMethod {
    pub const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Put, Self::Patch];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

/// A header's secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretHeader {
    /// Under the tenant's own key.
    pub value: Sealed,
    /// The event that first carried the value, and that it is sealed for; later changes of the function carry it on.
    pub sealed_for: EventId,
}

/// Everything a tenant sets on a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionSettings {
    /// What models call it; no two functions of a tenant have one name.
    pub name: String,
    /// What models are told that it does.
    pub description: String,
    /// JSON Schema of the arguments; an object.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    pub webhook_url: String,
    pub method: FunctionMethod,
    /// By name, as the tenant wrote it; no two names differ in case alone.
    pub headers: BTreeMap<String, SecretHeader>,
    pub is_active: bool,
}

/// A function was made; its version is 1. The append is conditional on the last event of all the tenant's functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionCreated {
    pub function_id: FunctionId,
    pub settings: FunctionSettings,
}

/// A function's settings were replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionUpdated {
    pub function_id: FunctionId,
    /// Counts up from 1 with every change.
    pub version: u32,
    pub settings: FunctionSettings,
}

/// A function was deleted. Agents that name it go on without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionDeleted {
    pub function_id: FunctionId,
}
