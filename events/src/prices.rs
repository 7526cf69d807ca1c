//! What the work of vendors costs (family `price_book`): one history under the system's id for everybody, and one under
//! a tenant's id for what was agreed with that tenant.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceKind {
    /// Requests to a language model.
    Model,
    /// Speech to text.
    Transcription,
    /// Text to speech.
    Synthesis,
    /// A carrier's calls.
    Carrier,
}

impl PriceKind {
    pub const ALL: [Self; 4] = [Self::Model, Self::Transcription, Self::Synthesis, Self::Carrier];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Transcription => "transcription",
            Self::Synthesis => "synthesis",
            Self::Carrier => "carrier",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A token that the model was told and that its vendor had not kept.
    Input,
    /// A token that the model was told and that its vendor had kept. Without a rate of its own it costs what an input
    /// token costs.
    CachedInput,
    /// A token that the model wrote.
    Output,
    /// Of audio, or of a call; a part of it costs its part.
    Second,
    /// Of audio, or of a call; a part of it costs its part.
    Minute,
    /// Of text.
    Character,
    /// A request to a vendor; in a carrier's call a reply of a model.
    Request,
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::Output => "output",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Character => "character",
            Self::Request => "request",
        }
    }
}

/// How many units a rate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(with = "u32")]
pub enum Per {
    #[default]
    One,
    Thousand,
    Million,
}

impl Per {
    pub fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Thousand => 1_000,
            Self::Million => 1_000_000,
        }
    }
}

impl From<Per> for u32 {
    fn from(per: Per) -> Self {
        per.count()
    }
}

impl TryFrom<u32> for Per {
    type Error = &'static str;

    fn try_from(count: u32) -> Result<Self, Self::Error> {
        [Self::One, Self::Thousand, Self::Million]
            .into_iter()
            .find(|per| per.count() == count)
            .ok_or("must be 1, 1000 or 1000000")
    }
}

/// What so many units of something cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub unit: Unit,
    /// At most twelve decimals.
    pub usd: Decimal,
    #[serde(default)]
    pub per: Per,
}

/// What the work of a vendor costs: the sum over its rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub kind: PriceKind,
    /// The vendor, such as `openai`.
    pub provider: String,
    /// `None`: of all the vendor's models that have no price of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub rates: Vec<Rate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PricesOrigin {
    /// The settings of a process that started.
    File,
    /// The operator.
    Api,
}

impl PricesOrigin {
    pub const ALL: [Self; 2] = [Self::File, Self::Api];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// A price list was replaced, from `effective_from` on. Of the lists whose time has come the one with the latest
/// `effective_from` is in force, and of those with the same the newest version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PricesChanged {
    /// Counts up from 1 in each history.
    pub version: u32,
    /// Never before the event's own time.
    pub effective_from: DateTime<Utc>,
    /// The whole list.
    pub prices: Vec<Price>,
    pub origin: PricesOrigin,
}
