//! The price book: what a vendor's work costs, exactly.

use events::session::Metered;
use rust_decimal::Decimal;
use rust_decimal::RoundingStrategy;

use crate::voice_prices::{CarrierPrice, SpeechPrice};

/// USD per million tokens of one vendor's model.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub provider: String,
    /// `None`: of all its models that have no price of their own.
    pub model: Option<String>,
    pub per_million_in: Decimal,
    pub per_million_out: Decimal,
}

/// One version of all prices. The version is recorded with every cost it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceBook {
    pub version: String,
    pub prices: Vec<Price>,
    /// Of two entries for the same the first counts.
    pub speech: Vec<SpeechPrice>,
    /// Of two entries for the same the first counts.
    pub carriers: Vec<CarrierPrice>,
}

/// Costs are kept to this many decimals of a dollar, rounded once, half away from zero.
pub const COST_SCALE: u32 = 12;
const MILLION: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

impl PriceBook {
    /// What `tokens_in` and `tokens_out` of a model cost. One without a price costs nothing, and says so by
    /// the version it is recorded with.
    pub fn meter(
        &self,
        provider: &str,
        model: &str,
        tokens_in: u64,
        tokens_out: u64,
        estimated: bool,
    ) -> Metered {
        let price = self.price(provider, model);
        let cost_usd = price.map_or(Decimal::ZERO, |price| price.cost(tokens_in, tokens_out));
        let price_version = if price.is_some() { self.version.clone() } else { UNPRICED.to_owned() };
        Metered { tokens_in, tokens_out, estimated, cost_usd, price_version }
    }

    /// The price of a model: its own, else its vendor's.
    pub fn price(&self, provider: &str, model: &str) -> Option<&Price> {
        let of = |wanted: Option<&str>| {
            self.prices.iter().find(|price| price.provider == provider && price.model.as_deref() == wanted)
        };
        of(Some(model)).or_else(|| of(None))
    }
}

/// The price version of work that has no price.
pub const UNPRICED: &str = "unpriced";

impl Price {
    /// The exact cost, rounded once and without trailing zeros.
    pub fn cost(&self, tokens_in: u64, tokens_out: u64) -> Decimal {
        let exact =
            Decimal::from(tokens_in) * self.per_million_in + Decimal::from(tokens_out) * self.per_million_out;
        (exact / MILLION)
            .round_dp_with_strategy(COST_SCALE, RoundingStrategy::MidpointAwayFromZero)
            .normalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> PriceBook {
        let price = Price {
            provider: "vendor_a".to_owned(),
            model: None,
            per_million_in: Decimal::from(2),
            per_million_out: Decimal::from(2),
        };
        PriceBook { version: "v1".to_owned(), prices: vec![price], speech: vec![], carriers: vec![] }
    }

    #[test]
    fn the_contract_example_costs_what_it_says() {
        // 0.002 USD per 1,000 tokens, 123 tokens.
        assert_eq!(book().meter("vendor_a", "any", 103, 20, false).cost_usd.to_string(), "0.000246");
    }

    #[test]
    fn rounding_happens_once_at_twelve_decimals() {
        let price = Price {
            provider: "x".to_owned(),
            model: None,
            per_million_in: Decimal::new(1, 6) + Decimal::new(5, 7),
            per_million_out: Decimal::ZERO,
        };
        assert_eq!(price.cost(1, 0), Decimal::new(2, 12));
        assert_eq!(price.cost(3, 0), Decimal::new(5, 12));
    }

    #[test]
    fn a_models_own_price_goes_before_its_vendors() {
        let mut book = book();
        let special = Price {
            model: Some("large".to_owned()),
            per_million_in: Decimal::from(9),
            ..book.prices[0].clone()
        };
        book.prices.push(special);
        let cost = |model| book.meter("vendor_a", model, 1_000_000, 0, false).cost_usd;
        assert_eq!((cost("large"), cost("small")), (Decimal::from(9), Decimal::from(2)));
    }

    #[test]
    fn work_without_a_price_is_recorded_as_unpriced() {
        let metered = book().meter("vendor_z", "any", 5, 5, true);
        assert_eq!((metered.cost_usd, metered.price_version.as_str()), (Decimal::ZERO, UNPRICED));
    }
}
