//! The file of `VOCALBRIDGE_PRICE_LIST`: what models, speech and carriers cost, as the operator has agreed with the
//! vendors, and how much of a conversation a model can be told. [`crate::voice_prices`] has the part of the voices.
//!
//! ```toml
//! [[models]]
//! provider = "openai"
//! model = "gpt-4.1"              # left out: all models of the vendor that have no price of their own
//! usd_per_million_in = "2.00"    # decimals are written as strings, so that nothing is rounded on the way
//! usd_per_million_out = "8.00"
//! context_tokens = 1047576       # left out: the vendor's
//! ```

use domain::context::ModelWindow;
use domain::{CarrierPrice, Price, SpeechPrice, Windows};
use rust_decimal::Decimal;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::voice_prices::{self, CarrierEntry, SpeechEntry};

/// Prices from a file, and which file it was.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceList {
    /// Names this content: the first 12 digits of its SHA-256.
    pub version: String,
    pub prices: Vec<Price>,
    pub windows: Vec<ModelWindow>,
    pub speech: Vec<SpeechPrice>,
    pub carriers: Vec<CarrierPrice>,
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
    usd_per_million_out: String,
    context_tokens: Option<u64>,
}

/// Reads the file at `path`.
pub(crate) fn read(path: &str) -> Result<PriceList, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    parse(&text).map_err(|mistake| format!("names a price list with a mistake: {mistake}"))
}

fn parse(text: &str) -> Result<PriceList, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut prices: Vec<Price> = Vec::with_capacity(file.models.len());
    let mut windows = Vec::new();
    for entry in file.models {
        let Entry { provider, model, usd_per_million_in, usd_per_million_out, context_tokens } = entry;
        let what = format!("{provider}, {}", model.as_deref().unwrap_or("all models"));
        if prices.iter().any(|price| price.provider == provider && price.model == model) {
            return Err(format!("two prices for the same ({what})"));
        }
        let per_million_in = exact(&usd_per_million_in, &what)?;
        let per_million_out = exact(&usd_per_million_out, &what)?;
        if let Some(tokens) = context_tokens {
            if !(Windows::SMALLEST..=MOST_CONTEXT_TOKENS).contains(&tokens) {
                let (least, most) = (Windows::SMALLEST, MOST_CONTEXT_TOKENS);
                return Err(format!("context_tokens must be {least} to {most} ({what})"));
            }
            windows.push(ModelWindow { provider: provider.clone(), model: model.clone(), tokens });
        }
        prices.push(Price { provider, model, per_million_in, per_million_out });
    }
    let digest = Sha256::digest(text.as_bytes());
    let version = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let (speech, carriers) = (voice_prices::speech(file.speech)?, voice_prices::carriers(file.carriers)?);
    Ok(PriceList { version, prices, windows, speech, carriers })
}

/// The price `text` of `what`.
pub(crate) fn exact(text: &str, what: &str) -> Result<Decimal, String> {
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
        usd_per_million_out = "8.00"
        context_tokens = 64000

        [[models]]
        provider = "openai"
        usd_per_million_in = "1"
        usd_per_million_out = "1"
    "#;

    #[test]
    fn prices_are_read_exactly_and_their_version_follows_the_content() -> Result<(), String> {
        let list = parse(LIST)?;
        assert_eq!(list.prices[0].model.as_deref(), Some("gpt-4.1"));
        assert_eq!(list.prices[0].per_million_out, Decimal::from(8));
        let windows: Vec<_> =
            list.windows.iter().map(|known| (known.model.as_deref(), known.tokens)).collect();
        assert_eq!(windows, [(Some("gpt-4.1"), 64_000)]);
        assert_ne!(parse(&LIST.replace("8.00", "8.01"))?.version, list.version);
        Ok(())
    }

    const SPEECH: &str = "\n[[speech]]\nkind = \"synthesis\"\nprovider = \"azure\"\n";

    #[test]
    fn the_prices_of_voices_stand_in_the_same_file_and_it_needs_no_models() -> Result<(), String> {
        let carrier = "\n[[carriers]]\nprovider = \"twilio\"\nusd_per_minute = \"0.0085\"";
        let list = parse(&format!("{SPEECH}usd_per_million_characters = \"15\"{carrier}"))?;
        let price = &list.speech[0];
        assert_eq!((price.per_minute, price.per_million_characters), (Decimal::ZERO, Decimal::from(15)));
        let carrier = &list.carriers[0];
        assert_eq!((carrier.per_minute, carrier.per_request), (Decimal::new(85, 4), Decimal::new(1, 3)));
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
            ("has no price (azure, all models)", format!("{LIST}{SPEECH}")),
            ("two prices for the same (azure", format!("{SPEECH}usd_per_minute=\"1\"").repeat(2)),
            (
                "unknown variant",
                format!("{LIST}{SPEECH}usd_per_minute=\"1\"").replace("synthesis", "singing"),
            ),
            (
                "\"-1\" is no price (twilio)",
                LIST.to_owned() + "[[carriers]]\nprovider=\"twilio\"\nusd_per_minute=\"-1\"",
            ),
        ] {
            let error = parse(&text).err().unwrap_or_default();
            assert!(error.contains(mistake), "{mistake}: {error}");
        }
    }
}
