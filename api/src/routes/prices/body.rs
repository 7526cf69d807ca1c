//! Prices as clients write and read them.

use chrono::{DateTime, Utc};
use domain::PriceList;
use domain::prices::{Found, check};
use events::TenantId;
use events::prices::{Per, Price, PriceKind, Rate, Unit};
use projections::configuration::prices::PriceListRecord;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::money::Usd;
use crate::validation::Mistakes;

/// A price that is set.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentPrice {
    kind: SentKind,
    /// The vendor.
    #[schema(min_length = 1, max_length = 200, example = "openai")]
    provider: String,
    /// Left out: of all the vendor's models that have no price of their own. Carriers have no models.
    #[schema(min_length = 1, max_length = 200, example = "gpt-4.1")]
    model: Option<String>,
    /// Added up. A `model` price has at least one for `input` and one for `output`, a `carrier` price one for `minute` or
    /// `second`.
    #[schema(min_items = 1)]
    rates: Vec<SentRate>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentRate {
    unit: SentUnit,
    usd: SentUsd,
    /// How many units it is for: 1, 1000 or 1000000. Left out: 1.
    #[serde(default)]
    #[schema(value_type = u32, example = 1_000_000)]
    per: Per,
}

/// A decimal in a string, 0 to 1,000,000, with at most 12 decimals.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, example = "2.00")]
pub(crate) struct SentUsd(pub Decimal);

impl<'de> Deserialize<'de> for SentUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let exact = Decimal::from_str_exact(&text);
        exact.map(Self).map_err(|_| serde::de::Error::custom("must be a decimal number in a string"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SentKind {
    Model,
    Transcription,
    Synthesis,
    Carrier,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SentUnit {
    Input,
    CachedInput,
    Output,
    Second,
    Minute,
    Character,
    Request,
}

/// The prices that were sent, checked; their mistakes are added to `mistakes`.
pub(crate) fn checked(sent: &[SentPrice], mistakes: &mut Mistakes) -> Vec<Price> {
    let prices: Vec<Price> = sent.iter().map(SentPrice::price).collect();
    for mistake in check::mistakes(&prices) {
        mistakes.add(&mistake.field, mistake.message);
    }
    prices
}

impl SentPrice {
    fn price(&self) -> Price {
        let kind = match self.kind {
            SentKind::Model => PriceKind::Model,
            SentKind::Transcription => PriceKind::Transcription,
            SentKind::Synthesis => PriceKind::Synthesis,
            SentKind::Carrier => PriceKind::Carrier,
        };
        let rates = self.rates.iter().map(|rate| Rate {
            unit: rate.unit.unit(),
            usd: rate.usd.0.normalize(),
            per: rate.per,
        });
        Price { kind, provider: self.provider.clone(), model: self.model.clone(), rates: rates.collect() }
    }
}

impl SentUnit {
    fn unit(self) -> Unit {
        match self {
            Self::Input => Unit::Input,
            Self::CachedInput => Unit::CachedInput,
            Self::Output => Unit::Output,
            Self::Second => Unit::Second,
            Self::Minute => Unit::Minute,
            Self::Character => Unit::Character,
            Self::Request => Unit::Request,
        }
    }
}

/// A price.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceShown {
    /// `model`, `transcription`, `synthesis` or `carrier`.
    #[schema(example = "model")]
    kind: &'static str,
    #[schema(example = "openai")]
    provider: String,
    /// `null`: of all the vendor's models that have no price of their own.
    #[schema(example = "gpt-4.1")]
    model: Option<String>,
    rates: Vec<RateShown>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RateShown {
    /// `input`, `cached_input` and `output` are tokens; `second` and `minute` are of audio or of a call, `character` is of
    /// text, and in a carrier's call a `request` is a reply of a model.
    #[schema(example = "input")]
    unit: &'static str,
    usd: Usd,
    /// How many units it is for.
    #[schema(example = 1_000_000)]
    per: u32,
}

impl From<&Price> for PriceShown {
    fn from(price: &Price) -> Self {
        let Price { kind, provider, model, rates } = price;
        let shown =
            |rate: &Rate| RateShown { unit: rate.unit.as_str(), usd: Usd(rate.usd), per: rate.per.count() };
        Self {
            kind: kind.as_str(),
            provider: provider.clone(),
            model: model.clone(),
            rates: rates.iter().map(shown).collect(),
        }
    }
}

/// A price that is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceInForce {
    #[serde(flatten)]
    price: PriceShown,
    /// `global`: for everybody; `tenant`: agreed with the tenant.
    #[schema(example = "global")]
    scope: &'static str,
    /// As it stands beside every cost that the price gave.
    #[schema(example = "global:3")]
    price_version: String,
}

impl From<Found<'_>> for PriceInForce {
    fn from(found: Found<'_>) -> Self {
        Self { price: found.price.into(), scope: found.scope.as_str(), price_version: found.version_name() }
    }
}

/// One version of a price list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceListShown {
    id: Uuid,
    /// Whose list it is; `null`: everybody's.
    tenant_id: Option<Uuid>,
    /// Counts up from 1.
    #[schema(example = 3)]
    version: u32,
    effective_from: DateTime<Utc>,
    /// `file`: the settings of a process that started; `api`: the operator.
    #[schema(example = "api")]
    origin: &'static str,
    created_at: DateTime<Utc>,
    prices: Vec<PriceShown>,
}

impl PriceListShown {
    pub(super) fn new(scope: TenantId, record: PriceListRecord) -> Self {
        let PriceListRecord { id, list, origin, created_at } = record;
        let PriceList { version, effective_from, prices } = list;
        Self {
            id: id.0,
            tenant_id: (scope != TenantId::SYSTEM).then_some(scope.0),
            version,
            effective_from,
            origin: origin.as_str(),
            created_at,
            prices: prices.iter().map(PriceShown::from).collect(),
        }
    }
}
