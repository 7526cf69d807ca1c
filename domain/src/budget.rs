//! What work can cost at most: held back before it is done, so that budgets are never overshot.

use events::agent::{AgentSettings, SpeechSettings};
use events::call::SpeechKind;
use rust_decimal::Decimal;

use crate::prices::{PricesAt, SpeechWork, Tokens};

/// No vendor's tokens have fewer bytes of UTF-8 over a whole text: English has about four to a token, Chinese about
/// three.
const BYTES_PER_TOKEN: u64 = 2;
/// What a message or a tool takes beyond its words: who says it, and the marks around it.
pub const FRAME_TOKENS: u64 = 16;
/// Reckoned for what nobody has looked up when a message comes in: the conversation so far and the tools. Whoever asks
/// the model knows, and reserves more before it does if this was not enough.
pub const UNKNOWN_CONTEXT_TOKENS: u64 = 2_048;

pub const MINUTE_MS: u64 = 60_000;
/// Nobody is answered more often in a minute, and nobody says more.
const ANSWERS_PER_MINUTE: u32 = 20;
const CHARACTERS_PER_MINUTE: u64 = 1_500;
/// Whoever names no engine hears and speaks here.
const LOCAL: &str = "local";

/// The most tokens that a text can be.
pub fn most_tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

/// The most that one request can cost, whichever of `models` (vendor and model) is asked. Those without a price cost
/// nothing.
pub fn most_of_request<'a>(
    prices: PricesAt<'_>,
    models: impl IntoIterator<Item = (&'a str, &'a str)>,
    tokens_in: u64,
    tokens_out: u64,
) -> Decimal {
    let tokens = Tokens { input: tokens_in, cached: 0, output: tokens_out };
    let costs =
        models.into_iter().map(|(provider, model)| prices.meter(provider, model, tokens, true).cost_usd);
    costs.max().unwrap_or_default()
}

/// The most that a carrier can charge for so many minutes of a call in which models have `answered`, and that engines can
/// charge for the speech of one of them: what was said before is on the bill already. What models cost their turns hold
/// back.
pub fn most_of_call(
    prices: PricesAt<'_>,
    settings: &AgentSettings,
    carrier: Option<&str>,
    minutes: u64,
    answered: u32,
) -> Decimal {
    let answers = answered.saturating_add(ANSWERS_PER_MINUTE);
    let charged = carrier.map(|carrier| prices.meter_carrier(carrier, minutes * MINUTE_MS, answers).cost_usd);
    let speech = |kind, engine: Option<&SpeechSettings>| {
        let provider = engine.map_or(LOCAL, |engine| engine.provider.as_str());
        let model = engine.and_then(|engine| engine.model.as_deref()).unwrap_or_default();
        let minute =
            SpeechWork { kind, audio_ms: MINUTE_MS, characters: CHARACTERS_PER_MINUTE, estimated: true };
        prices.meter_speech(provider, model, minute).cost_usd
    };
    charged.unwrap_or_default()
        + speech(SpeechKind::Transcription, settings.stt.as_ref())
        + speech(SpeechKind::Synthesis, settings.tts.as_ref())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::prices::{Per, Price, PriceKind, Rate, Unit};

    use super::*;
    use crate::prices::{PriceBook, PriceList};

    #[test]
    fn the_dearest_of_the_chain_is_reckoned_with() {
        let rate = |unit, cents| Rate { unit, usd: Decimal::new(cents, 2), per: Per::Million };
        let price = |provider: &str, cents| Price {
            kind: PriceKind::Model,
            provider: provider.to_owned(),
            model: None,
            rates: vec![rate(Unit::Input, cents), rate(Unit::Output, cents * 2)],
        };
        let prices = vec![price("a", 100), price("b", 300)];
        let list = PriceList { version: 1, effective_from: DateTime::UNIX_EPOCH, prices };
        let book = PriceBook::new([list].into(), [].into());
        let most = |models: &[(&'static str, &'static str)]| {
            most_of_request(book.at(DateTime::UNIX_EPOCH), models.iter().copied(), 1_000, 500).to_string()
        };
        assert_eq!(most(&[("a", "x")]), "0.002");
        assert_eq!(most(&[("a", "x"), ("b", "y")]), "0.006");
        assert_eq!(most(&[("free", "z")]), "0");
        assert_eq!(most(&[]), "0");
    }

    #[test]
    fn a_text_has_no_more_tokens_than_are_reckoned() {
        assert_eq!(["", "a", "abcd", "äöü"].map(most_tokens), [0, 1, 2, 3]);
    }
}
