//! The price book: what a vendor's work costs, exactly, at any time.
//!
//! A [`PriceBook`] is what a tenant pays by: the lists agreed with it before the lists for everybody, each with the time
//! it is in force from. [`PriceBook::at`] chooses; [`PricesAt`] meters; [`work`] has the arithmetic, which rounds once.

pub mod check;
pub mod work;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::call::{CarrierMetered, SpeechMetered};
use events::prices::{Price, PriceKind};
use events::session::Metered;
use rust_decimal::Decimal;

pub use work::{COST_SCALE, SpeechWork, Tokens, Work};

/// The price version of work that has no price.
pub const UNPRICED: &str = "unpriced";

/// A whole price list, and when it is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceList {
    /// Counts up from 1 in its scope.
    pub version: u32,
    pub effective_from: DateTime<Utc>,
    /// At most one for the same kind, provider and model.
    pub prices: Vec<Price>,
}

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What was agreed with one tenant.
    Tenant,
    /// For everybody.
    Global,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Global => "global",
        }
    }
}

/// What one tenant pays by: the lists that are in force, and those that will be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceBook {
    global: Arc<[PriceList]>,
    tenant: Arc<[PriceList]>,
}

/// A tenant's prices at one time.
#[derive(Clone, Copy, Debug)]
pub struct PricesAt<'a> {
    tenant: Option<&'a PriceList>,
    global: Option<&'a PriceList>,
}

/// A price, and which list it is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'a> {
    pub price: &'a Price,
    pub scope: Scope,
    pub version: u32,
}

impl PriceBook {
    /// The lists in any order.
    pub fn new(global: Arc<[PriceList]>, tenant: Arc<[PriceList]>) -> Self {
        Self { global, tenant }
    }

    /// The prices in force at `time`.
    pub fn at(&self, time: DateTime<Utc>) -> PricesAt<'_> {
        PricesAt { tenant: in_force(&self.tenant, time), global: in_force(&self.global, time) }
    }
}

/// Of the lists whose time has come the one whose time came last; of those with the same time the newest.
fn in_force(lists: &[PriceList], time: DateTime<Utc>) -> Option<&PriceList> {
    let come = lists.iter().filter(|list| list.effective_from <= time);
    come.max_by_key(|list| (list.effective_from, list.version))
}

impl<'a> PricesAt<'a> {
    /// The price of a vendor's model: the tenant's goes before everybody's, and in each list the model's own before its
    /// vendor's. It stands as a whole: its rates are not mixed with another's.
    pub fn price(self, kind: PriceKind, provider: &str, model: &str) -> Option<Found<'a>> {
        let in_list = |scope, list: &'a PriceList| {
            let price = price_in(&list.prices, kind, provider, model)?;
            Some(Found { price, scope, version: list.version })
        };
        self.tenant
            .and_then(|list| in_list(Scope::Tenant, list))
            .or_else(|| self.global.and_then(|list| in_list(Scope::Global, list)))
    }

    /// All prices that something can cost by: the tenant's, then those of everybody that they do not replace.
    pub fn all(self) -> Vec<Found<'a>> {
        let of = |scope, list: Option<&'a PriceList>| {
            let prices = list.map(|list| (list.version, &list.prices[..]));
            prices.into_iter().flat_map(move |(version, prices)| {
                prices.iter().map(move |price| Found { price, scope, version })
            })
        };
        let replaced = |found: &Found<'_>| {
            let Price { kind, provider, model, .. } = found.price;
            let own = self.tenant.map(|list| &list.prices[..]).unwrap_or_default();
            own.iter().any(|own| {
                own.kind == *kind && own.provider == *provider && (own.model.is_none() || own.model == *model)
            })
        };
        let everybodys = of(Scope::Global, self.global).filter(|found| !replaced(found));
        of(Scope::Tenant, self.tenant).chain(everybodys).collect()
    }

    /// What a request to a language model costs. One without a price costs nothing, and says so by the version it is
    /// recorded with.
    pub fn meter(self, provider: &str, model: &str, tokens: Tokens, estimated: bool) -> Metered {
        let Tokens { input, cached, output } = tokens;
        let (cost_usd, price_version) = self.charge(PriceKind::Model, provider, model, &tokens.into());
        Metered {
            tokens_in: input,
            tokens_cached: cached,
            tokens_out: output,
            estimated,
            cost_usd,
            price_version,
        }
    }

    /// What speech work costs.
    pub fn meter_speech(self, provider: &str, model: &str, work: SpeechWork) -> SpeechMetered {
        let kind = work::price_kind(work.kind);
        let (cost_usd, price_version) = self.charge(kind, provider, model, &work.into());
        SpeechMetered { cost_usd, price_version, estimated: work.estimated }
    }

    /// What a carrier's call of `duration_ms` with `requests` replies of models costs.
    pub fn meter_carrier(self, provider: &str, duration_ms: u64, requests: u32) -> CarrierMetered {
        let work = Work { audio_ms: duration_ms, requests: requests.into(), ..Work::default() };
        let (cost_usd, price_version) = self.charge(PriceKind::Carrier, provider, "", &work);
        CarrierMetered { provider: provider.to_owned(), duration_ms, requests, cost_usd, price_version }
    }

    fn charge(self, kind: PriceKind, provider: &str, model: &str, work: &Work) -> (Decimal, String) {
        match self.price(kind, provider, model) {
            Some(found) => (work.cost(found.price), found.version_name()),
            None => (Decimal::ZERO, UNPRICED.to_owned()),
        }
    }
}

impl Found<'_> {
    /// What is recorded with every cost that the price gave, such as `global:3`.
    pub fn version_name(&self) -> String {
        format!("{}:{}", self.scope.as_str(), self.version)
    }
}

/// The price of a vendor's model in one list: the model's own, else its vendor's.
pub fn price_in<'a>(prices: &'a [Price], kind: PriceKind, provider: &str, model: &str) -> Option<&'a Price> {
    let of = |wanted: Option<&str>| {
        prices.iter().find(|price| {
            price.kind == kind && price.provider == provider && price.model.as_deref() == wanted
        })
    };
    of(Some(model)).or_else(|| of(None))
}

#[cfg(test)]
#[path = "prices_tests.rs"]
mod tests;
