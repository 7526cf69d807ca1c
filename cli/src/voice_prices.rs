//! What speech and carriers cost: the usual, and what the price list says instead.
//!
//! ```toml
//! [[speech]]
//! kind = "synthesis"                   # or "transcription"
//! provider = "azure"
//! model = "hd"                         # left out: all models of the vendor that have no price of their own
//! usd_per_minute = "0.01"              # of audio; at least one of the three, which are added up
//! usd_per_million_characters = "15"
//! usd_per_request = "0.0001"
//!
//! [[carriers]]
//! provider = "twilio"
//! usd_per_minute = "0.0085"
//! usd_per_request = "0.001"            # for each reply of a model; left out: 0.001
//! ```

use domain::{CarrierPrice, SpeechPrice};
use events::call::SpeechKind;
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::price_list::exact;

/// For each reply of a model in a carrier's call, whoever the carrier is.
const USUAL_PER_REQUEST: Decimal = Decimal::from_parts(1, 0, 0, false, 3);

/// Of vendors that nobody has set a price for. What runs here is free.
pub(crate) fn usual_speech() -> Vec<SpeechPrice> {
    use SpeechKind::{Synthesis, Transcription};
    let per_minute = |kind, provider: &str, per_minute| SpeechPrice {
        kind,
        provider: provider.to_owned(),
        model: None,
        per_minute,
        per_million_characters: Decimal::ZERO,
        per_request: Decimal::ZERO,
    };
    vec![
        per_minute(Synthesis, "azure", Decimal::new(1, 2)),
        per_minute(Transcription, "local", Decimal::ZERO),
        per_minute(Synthesis, "local", Decimal::ZERO),
        per_minute(Transcription, "simulated", Decimal::ZERO),
        per_minute(Synthesis, "simulated", Decimal::ZERO),
    ]
}

/// Twilio's minutes depend on country and number: they cost nothing here until they are set.
pub(crate) fn usual_carriers() -> Vec<CarrierPrice> {
    let carrier = |provider: &str, per_minute| CarrierPrice {
        provider: provider.to_owned(),
        per_minute,
        per_request: USUAL_PER_REQUEST,
    };
    vec![carrier("exotel", Decimal::new(2, 2)), carrier("twilio", Decimal::ZERO)]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpeechEntry {
    kind: SpeechKind,
    provider: String,
    model: Option<String>,
    usd_per_minute: Option<String>,
    usd_per_million_characters: Option<String>,
    usd_per_request: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarrierEntry {
    provider: String,
    usd_per_minute: String,
    usd_per_request: Option<String>,
}

pub(crate) fn speech(entries: Vec<SpeechEntry>) -> Result<Vec<SpeechPrice>, String> {
    let mut prices: Vec<SpeechPrice> = Vec::with_capacity(entries.len());
    for entry in entries {
        let SpeechEntry { kind, provider, model, .. } = entry;
        let what = format!("{provider}, {}", model.as_deref().unwrap_or("all models"));
        let parts = [entry.usd_per_minute, entry.usd_per_million_characters, entry.usd_per_request];
        if parts.iter().all(Option::is_none) {
            return Err(format!("{} has no price ({what})", kind.as_str()));
        }
        let same =
            |price: &SpeechPrice| price.kind == kind && price.provider == provider && price.model == model;
        if prices.iter().any(same) {
            return Err(format!("two prices for the same ({what})"));
        }
        let part = |text: Option<String>| text.map_or(Ok(Decimal::ZERO), |text| exact(&text, &what));
        let [minute, characters, request] = parts.map(part);
        prices.push(SpeechPrice {
            kind,
            per_minute: minute?,
            per_million_characters: characters?,
            per_request: request?,
            provider,
            model,
        });
    }
    Ok(prices)
}

pub(crate) fn carriers(entries: Vec<CarrierEntry>) -> Result<Vec<CarrierPrice>, String> {
    let mut prices: Vec<CarrierPrice> = Vec::with_capacity(entries.len());
    for CarrierEntry { provider, usd_per_minute, usd_per_request } in entries {
        if prices.iter().any(|price| price.provider == provider) {
            return Err(format!("two prices for the same ({provider})"));
        }
        let per_request = usd_per_request.map_or(Ok(USUAL_PER_REQUEST), |text| exact(&text, &provider))?;
        prices.push(CarrierPrice { per_minute: exact(&usd_per_minute, &provider)?, per_request, provider });
    }
    Ok(prices)
}
