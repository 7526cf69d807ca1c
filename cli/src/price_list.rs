//! The file of `VOCALBRIDGE_PRICE_LIST`: what models, speech and carriers cost, as the operator has agreed with the
//! vendors, and how much of a conversation a model can be told. [`crate::voice_prices`] has the part of the voices.
//!
//! ```toml
//! [[models]]
//! provider = "openai"
//! model = "gpt-4.1"                     # left out: all models of the vendor that have no price of their own
//! usd_per_million_in = "2.00"           # decimals are written as strings, so that nothing is rounded on the way
//! usd_per_million_cached_in = "0.50"    # of what the vendor had kept; left out: as much as the rest of what it is told
//! usd_per_million_out = "8.00"
//! usd_per_request = "0.0001"            # left out: nothing
//! context_tokens = 1047576              # left out: the vendor's
//! ```

use domain::Windows;
use domain::context::ModelWindow;
use domain::prices::check;
use events::prices::{Per, Price, PriceKind, Rate, Unit};
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::voice_prices::{self, CarrierEntry, SpeechEntry};

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceFile {
    pub prices: Vec<Price>,
    pub windows: Vec<ModelWindow>,
}

/// More than this is a slip of the pen.
const MOST_CONTEXT_TOKENS: u64 = 100_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    models: Vec<Entry>,
    #[serde(default)]
    speech: Vec<SpeechEntry>,
    #[serde(default)]
    carriers: Vec<CarrierEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    provider: String,
    model: Option<String>,
    usd_per_million_in: String,
    usd_per_million_cached_in: Option<String>,
    usd_per_million_out: String,
    usd_per_request: Option<String>,
    context_tokens: Option<u64>,
}

/// Reads the file at `path`.
pub(crate) fn read(path: &str) -> Result<PriceFile, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    parse(&text).map_err(|mistake| format!("names a price list with a mistake: {mistake}"))
}

fn parse(text: &str) -> Result<PriceFile, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let (mut list, mut windows) = (List::default(), Vec::new());
    for entry in file.models {
        let Entry { provider, model, context_tokens, .. } = entry;
        let parts = [
            (Unit::Input, Per::Million, Some(entry.usd_per_million_in)),
            (Unit::CachedInput, Per::Million, entry.usd_per_million_cached_in),
            (Unit::Output, Per::Million, Some(entry.usd_per_million_out)),
            (Unit::Request, Per::One, entry.usd_per_request),
        ];
        if let Some(tokens) = context_tokens {
            if !(Windows::SMALLEST..=MOST_CONTEXT_TOKENS).contains(&tokens) {
                let (least, most, what) = (Windows::SMALLEST, MOST_CONTEXT_TOKENS, named(&provider, &model));
                return Err(format!("context_tokens must be {least} to {most} ({what})"));
            }
            windows.push(ModelWindow { provider: provider.clone(), model: model.clone(), tokens });
        }
        list.add(PriceKind::Model, provider, model, parts)?;
    }
    voice_prices::add_speech(&mut list, file.speech)?;
    voice_prices::add_carriers(&mut list, file.carriers)?;
    Ok(PriceFile { prices: list.0, windows })
}

/// The prices of a file, as far as it is read.
#[derive(Default)]
pub(crate) struct List(Vec<Price>);

impl List {
    /// Adds the price of a vendor's model; `parts` are what it says in dollars, of which some may be left out.
    pub(crate) fn add<const N: usize>(
        &mut self,
        kind: PriceKind,
        provider: String,
        model: Option<String>,
        parts: [(Unit, Per, Option<String>); N],
    ) -> Result<(), String> {
        let what = named(&provider, &model);
        let same = |price: &Price| price.kind == kind && price.provider == provider && price.model == model;
        if self.0.iter().any(same) {
            return Err(format!("two prices for the same ({what})"));
        }
        let told = parts.into_iter().filter_map(|(unit, per, usd)| Some((unit, per, usd?)));
        let rates = told.map(|(unit, per, usd)| Ok(Rate { unit, usd: exact(&usd, &what)?, per }));
        let price = Price { kind, provider, model, rates: rates.collect::<Result<_, String>>()? };
        if let Some(mistake) = check::mistakes(std::slice::from_ref(&price)).into_iter().next() {
            let field = mistake.field.trim_start_matches("prices[0].");
            return Err(format!("{field} of a {} price {} ({what})", kind.as_str(), mistake.message));
        }
        self.0.push(price);
        Ok(())
    }
}

fn named(provider: &str, model: &Option<String>) -> String {
    format!("{provider}, {}", model.as_deref().unwrap_or("all models"))
}

/// The price `text` of `what`.
fn exact(text: &str, what: &str) -> Result<Decimal, String> {
    let price = Decimal::from_str_exact(text).ok().filter(|price| !price.is_sign_negative());
    price.ok_or_else(|| format!("{text:?} is no price ({what})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"
        [[models]]
        provider = "openai"
        model = "gpt-4.1"
        usd_per_million_in = "2.00"
        usd_per_million_cached_in = "0.5"
        usd_per_million_out = "8.00"
        context_tokens = 64000

        [[models]]
        provider = "openai"
        usd_per_million_in = "1"
        usd_per_million_out = "1"
    "#;

    #[test]
    fn prices_are_read_exactly() -> Result<(), String> {
        let list = parse(LIST)?;
        assert_eq!(list.prices[0].model.as_deref(), Some("gpt-4.1"));
        let rate = |unit, usd, per| Rate { unit, usd, per };
        let expected = [
            rate(Unit::Input, Decimal::new(200, 2), Per::Million),
            rate(Unit::CachedInput, Decimal::new(5, 1), Per::Million),
            rate(Unit::Output, Decimal::new(800, 2), Per::Million),
        ];
        assert_eq!(list.prices[0].rates, expected);
        let windows: Vec<_> =
            list.windows.iter().map(|known| (known.model.as_deref(), known.tokens)).collect();
        assert_eq!(windows, [(Some("gpt-4.1"), 64_000)]);
        Ok(())
    }

    const SPEECH: &str = "\n[[speech]]\nkind = \"synthesis\"\nprovider = \"azure\"\n";

    #[test]
    fn the_prices_of_voices_stand_in_the_same_file_and_it_needs_no_models() -> Result<(), String> {
        let carrier = "\n[[carriers]]\nprovider = \"twilio\"\nusd_per_minute = \"0.0085\"";
        let list = parse(&format!("{SPEECH}usd_per_million_characters = \"15\"{carrier}"))?;
        let [speech, carrier] = &list.prices[..] else { panic!("{list:?}") };
        let rate = |unit, usd, per| Rate { unit, usd, per };
        assert_eq!(speech.rates, [rate(Unit::Character, Decimal::from(15), Per::Million)]);
        let usual = rate(Unit::Request, Decimal::new(1, 3), Per::One);
        assert_eq!(carrier.rates, [rate(Unit::Minute, Decimal::new(85, 4), Per::One), usual]);
        Ok(())
    }

    #[test]
    fn mistakes_are_told() {
        for (mistake, text) in [
            ("\"-8\" is no price", LIST.replace("8.00", "-8")),
            ("two prices", LIST.replace("model = \"gpt-4.1\"", "")),
            ("unknown field", LIST.replace("usd_per_million_in = \"1\"", "per_million = \"1\"")),
            ("context_tokens must be 1024 to", LIST.replace("64000", "1023")),
            ("invalid value", LIST.replace("64000", "-1")),
            ("invalid type", LIST.replace("\"8.00\"", "8.0")),
            ("\"x\" is no price (azure, all models)", format!("{LIST}{SPEECH}usd_per_minute = \"x\"")),
            ("rates of a synthesis price must not be empty (azure", format!("{LIST}{SPEECH}")),
            ("must have at most 12 decimals", LIST.replace("8.00", "0.0000000000001")),
            ("two prices for the same (azure", format!("{SPEECH}usd_per_minute=\"1\"").repeat(2)),
            (
                "unknown variant",
                format!("{LIST}{SPEECH}usd_per_minute=\"1\"").replace("synthesis", "singing"),
            ),
            (
                "\"-1\" is no price (twilio, all models)",
                LIST.to_owned() + "[[carriers]]\nprovider=\"twilio\"\nusd_per_minute=\"-1\"",
            ),
        ] {
            let error = parse(&text).err().unwrap_or_default();
            assert!(error.contains(mistake), "{mistake}: {error}");
        }
    }
}
