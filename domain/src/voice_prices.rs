//! What speech and carriers cost, exactly.

use events::call::{CarrierMetered, SpeechKind, SpeechMetered};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::prices::{COST_SCALE, PriceBook, UNPRICED};

/// USD for the work of one vendor of speech. Its parts are added up; most vendors have one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeechPrice {
    pub kind: SpeechKind,
    pub provider: String,
    /// `None`: of all its models that have no price of their own.
    pub model: Option<String>,
    /// Of what was heard or made.
    pub per_minute: Decimal,
    /// Of the text.
    pub per_million_characters: Decimal,
    pub per_request: Decimal,
}

/// USD for one carrier's calls.
#[derive(Clone, Debug, PartialEq)]
pub struct CarrierPrice {
    pub provider: String,
    /// Of the call, from its connection on. A part of a minute costs its part.
    pub per_minute: Decimal,
    /// For each reply of a model in its calls.
    pub per_request: Decimal,
}

/// What a speech vendor did in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeechWork {
    pub kind: SpeechKind,
    /// Heard or made.
    pub audio_ms: u64,
    /// Of the text.
    pub characters: u64,
    /// The vendor did not say how much it was; counted by us.
    pub estimated: bool,
}

const MS_PER_MINUTE: Decimal = Decimal::from_parts(60_000, 0, 0, false, 0);
const MILLION: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// The least number that both of them divide: all parts of a price are added over it, so that one division rounds.
const COMMON: Decimal = Decimal::from_parts(3_000_000, 0, 0, false, 0);

impl PriceBook {
    /// What `work` of a vendor's model costs. Without a price it costs nothing, and says so by the version.
    pub fn meter_speech(&self, provider: &str, model: &str, work: SpeechWork) -> SpeechMetered {
        let of = |wanted: Option<&str>| {
            self.speech.iter().find(|price| {
                price.kind == work.kind && price.provider == provider && price.model.as_deref() == wanted
            })
        };
        let price = of(Some(model)).or_else(|| of(None));
        SpeechMetered {
            cost_usd: price.map_or(Decimal::ZERO, |price| price.cost(work)),
            price_version: self.version_of(price),
            estimated: work.estimated,
        }
    }

    /// What a carrier's call of `duration_ms` with `requests` replies of models costs.
    pub fn meter_carrier(&self, provider: &str, duration_ms: u64, requests: u32) -> CarrierMetered {
        let price = self.carriers.iter().find(|price| price.provider == provider);
        CarrierMetered {
            provider: provider.to_owned(),
            duration_ms,
            requests,
            cost_usd: price.map_or(Decimal::ZERO, |price| price.cost(duration_ms, requests)),
            price_version: self.version_of(price),
        }
    }

    fn version_of<T>(&self, price: Option<T>) -> String {
        if price.is_some() { self.version.clone() } else { UNPRICED.to_owned() }
    }
}

impl SpeechPrice {
    /// The exact cost, rounded once and without trailing zeros.
    pub fn cost(&self, work: SpeechWork) -> Decimal {
        let minutes = Decimal::from(work.audio_ms) * self.per_minute * (COMMON / MS_PER_MINUTE);
        let characters = Decimal::from(work.characters) * self.per_million_characters * (COMMON / MILLION);
        rounded((minutes + characters + self.per_request * COMMON) / COMMON)
    }
}

impl CarrierPrice {
    /// The exact cost, rounded once and without trailing zeros.
    pub fn cost(&self, duration_ms: u64, requests: u32) -> Decimal {
        let minutes = Decimal::from(duration_ms) * self.per_minute;
        let replies = Decimal::from(requests) * self.per_request * MS_PER_MINUTE;
        rounded((minutes + replies) / MS_PER_MINUTE)
    }
}

fn rounded(exact: Decimal) -> Decimal {
    exact.round_dp_with_strategy(COST_SCALE, RoundingStrategy::MidpointAwayFromZero).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> PriceBook {
        let price = |kind, provider: &str, model: Option<&str>, per_minute| SpeechPrice {
            kind,
            provider: provider.to_owned(),
            model: model.map(str::to_owned),
            per_minute,
            per_million_characters: Decimal::ZERO,
            per_request: Decimal::ZERO,
        };
        let carrier = |provider: &str, per_minute| CarrierPrice {
            provider: provider.to_owned(),
            per_minute,
            per_request: Decimal::new(1, 3),
        };
        PriceBook {
            version: "v1".to_owned(),
            prices: vec![],
            speech: vec![
                price(SpeechKind::Synthesis, "azure", None, Decimal::new(1, 2)),
                price(SpeechKind::Synthesis, "azure", Some("hd"), Decimal::new(3, 2)),
                price(SpeechKind::Transcription, "local", None, Decimal::ZERO),
            ],
            carriers: vec![carrier("exotel", Decimal::new(2, 2)), carrier("twilio", Decimal::ZERO)],
        }
    }

    fn spoken(audio_ms: u64) -> SpeechWork {
        SpeechWork { kind: SpeechKind::Synthesis, audio_ms, characters: 100, estimated: false }
    }

    #[test]
    fn synthesis_costs_its_minutes() {
        let cost = |audio_ms| book().meter_speech("azure", "any", spoken(audio_ms)).cost_usd.to_string();
        assert_eq!((cost(60_000).as_str(), cost(90_000).as_str()), ("0.01", "0.015"));
        assert_eq!(cost(1), "0.000000166667", "rounded once, at twelve decimals");
    }

    #[test]
    fn a_models_own_price_goes_before_its_vendors_and_each_kind_has_its_own() {
        let metered = book().meter_speech("azure", "hd", spoken(60_000));
        assert_eq!((metered.cost_usd, metered.price_version.as_str()), (Decimal::new(3, 2), "v1"));
        let heard = SpeechWork { kind: SpeechKind::Transcription, ..spoken(60_000) };
        assert_eq!(book().meter_speech("azure", "hd", heard).price_version, UNPRICED);
        let free = book().meter_speech("local", "base.en", heard);
        assert_eq!((free.cost_usd, free.price_version.as_str()), (Decimal::ZERO, "v1"));
    }

    #[test]
    fn the_parts_of_a_price_are_added_before_anything_is_rounded() {
        let price = SpeechPrice {
            kind: SpeechKind::Synthesis,
            provider: "x".to_owned(),
            model: None,
            // A third of a trillionth for the millisecond, and for the character: together two thirds.
            per_minute: Decimal::new(2, 8),
            per_million_characters: Decimal::new(333_333, 12),
            per_request: Decimal::ZERO,
        };
        let work = SpeechWork { audio_ms: 1, characters: 1, ..spoken(1) };
        assert_eq!(price.cost(work), Decimal::new(1, 12));
        assert_eq!(price.cost(SpeechWork { characters: 0, ..work }), Decimal::ZERO);
        let with_request = SpeechPrice { per_request: Decimal::new(5, 3), ..price };
        assert_eq!(with_request.cost(SpeechWork { audio_ms: 0, characters: 0, ..work }), Decimal::new(5, 3));
    }

    #[test]
    fn a_carriers_call_costs_its_minutes_and_each_reply() {
        let metered = book().meter_carrier("exotel", 90_000, 4);
        assert_eq!((metered.cost_usd, metered.price_version.as_str()), (Decimal::new(34, 3), "v1"));
        assert_eq!(book().meter_carrier("twilio", 600_000, 3).cost_usd, Decimal::new(3, 3));
        assert_eq!(book().meter_carrier("exotel", 1, 0).cost_usd.to_string(), "0.000000333333");
        assert_eq!(book().meter_carrier("pigeon", 60_000, 1).price_version, UNPRICED);
    }
}
