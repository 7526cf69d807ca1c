//! What speech and carriers cost: the usual, and what the price list says instead.
//!
//! ```toml
//! [[speech]]
//! kind = "synthesis"                   # or "transcription"
//! provider = "azure"
//! model = "hd"                         # left out: all models of the vendor that have no price of their own
//! usd_per_minute = "0.01"              # of audio; at least one of the four, which are added up
//! usd_per_second = "0.0001"
//! usd_per_million_characters = "15"
//! usd_per_request = "0.0001"
//!
//! [[carriers]]
//! provider = "twilio"
//! usd_per_minute = "0.0085"
//! usd_per_request = "0.001"            # for each reply of a model; left out: 0.001
//! ```

use events::call::SpeechKind;
use events::prices::{Per, Price, PriceKind, Rate, Unit};
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::price_list::List;

/// For each reply of a model in a carrier's call, whoever the carrier is.
const USUAL_PER_REQUEST: Decimal = Decimal::from_parts(1, 0, 0, false, 3);

/// Of vendors that nobody has set a price for. What runs here is free. Twilio's minutes depend on country and number:
/// they cost nothing here until they are set.
pub(crate) fn usual() -> Vec<Price> {
    use PriceKind::{Carrier, Synthesis, Transcription};
    let rate = |unit, usd| Rate { unit, usd, per: Per::One };
    let price =
        |kind, provider: &str, rates| Price { kind, provider: provider.to_owned(), model: None, rates };
    let speech = |kind, provider, usd| price(kind, provider, vec![rate(Unit::Minute, usd)]);
    let carrier = |provider, usd| {
        price(Carrier, provider, vec![rate(Unit::Minute, usd), rate(Unit::Request, USUAL_PER_REQUEST)])
    };
    vec![
        speech(Synthesis, "azure", Decimal::new(1, 2)),
        speech(Transcription, "local", Decimal::ZERO),
        speech(Synthesis, "local", Decimal::ZERO),
        speech(Transcription, "simulated", Decimal::ZERO),
        speech(Synthesis, "simulated", Decimal::ZERO),
        carrier("exotel", Decimal::new(2, 2)),
        carrier("twilio", Decimal::ZERO),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpeechEntry {
    kind: SpeechKind,
    provider: String,
    model: Option<String>,
    usd_per_minute: Option<String>,
    usd_per_second: Option<String>,
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

pub(crate) fn add_speech(list: &mut List, entries: Vec<SpeechEntry>) -> Result<(), String> {
    for entry in entries {
        let kind = match entry.kind {
            SpeechKind::Transcription => PriceKind::Transcription,
            SpeechKind::Synthesis => PriceKind::Synthesis,
        };
        let parts = [
            (Unit::Minute, Per::One, entry.usd_per_minute),
            (Unit::Second, Per::One, entry.usd_per_second),
            (Unit::Character, Per::Million, entry.usd_per_million_characters),
            (Unit::Request, Per::One, entry.usd_per_request),
        ];
        list.add(kind, entry.provider, entry.model, parts)?;
    }
    Ok(())
}

pub(crate) fn add_carriers(list: &mut List, entries: Vec<CarrierEntry>) -> Result<(), String> {
    for CarrierEntry { provider, usd_per_minute, usd_per_request } in entries {
        let per_request = usd_per_request.unwrap_or_else(|| USUAL_PER_REQUEST.to_string());
        let parts =
            [(Unit::Minute, Per::One, Some(usd_per_minute)), (Unit::Request, Per::One, Some(per_request))];
        list.add(PriceKind::Carrier, provider, None, parts)?;
    }
    Ok(())
}
