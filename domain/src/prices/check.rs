//! What a price list may say.

use events::prices::{Price, PriceKind, Rate, Unit};
use rust_decimal::Decimal;

use super::COST_SCALE;
use crate::Mistake;

/// In one list.
pub const MAX_PRICES: usize = 1_000;
/// In dollars, of one rate.
pub const MAX_USD: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
const MAX_NAME_CHARS: usize = 200;

/// All that is wrong with a list; its fields are named as in `prices[0].rates[1].usd`.
pub fn mistakes(prices: &[Price]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if prices.len() > MAX_PRICES {
        mistakes.push(mistake("prices", format!("must be at most {MAX_PRICES}")));
        return mistakes;
    }
    for (index, price) in prices.iter().enumerate() {
        let at = format!("prices[{index}]");
        let Price { kind, provider, model, rates } = price;
        check_name(&mut mistakes, format!("{at}.provider"), provider);
        match (kind, model) {
            (PriceKind::Carrier, Some(_)) => {
                mistakes.push(mistake(format!("{at}.model"), "must be left out: carriers have no models"));
            }
            (_, Some(model)) => check_name(&mut mistakes, format!("{at}.model"), model),
            (_, None) => {}
        }
        check_rates(&mut mistakes, &format!("{at}.rates"), *kind, rates);
        let same =
            |other: &Price| other.kind == *kind && other.provider == *provider && other.model == *model;
        if prices[..index].iter().any(same) {
            let what =
                model.as_deref().map_or_else(|| provider.clone(), |model| format!("{provider}, {model}"));
            mistakes.push(mistake(at, format!("is the second {} price for {what}", kind.as_str())));
        }
    }
    mistakes
}

fn check_rates(mistakes: &mut Vec<Mistake>, at: &str, kind: PriceKind, rates: &[Rate]) {
    use Unit::{CachedInput, Character, Input, Minute, Output, Request, Second};
    // What is allowed, and what must be there: a price replaces another as a whole, and a part that was forgotten would
    // be free.
    let (allowed, required): (&[Unit], &[Unit]) = match kind {
        PriceKind::Model => (&[Input, CachedInput, Output, Request], &[Input, Output]),
        PriceKind::Transcription | PriceKind::Synthesis => (&[Second, Minute, Character, Request], &[]),
        PriceKind::Carrier => (&[Second, Minute, Request], &[]),
    };
    let has = |unit: Unit| rates.iter().any(|rate| rate.unit == unit);
    if rates.is_empty() {
        mistakes.push(mistake(at, "must not be empty"));
    }
    for unit in required.iter().filter(|unit| !rates.is_empty() && !has(**unit)) {
        mistakes.push(mistake(at, format!("must have one for {}; it may be 0", unit.as_str())));
    }
    if kind == PriceKind::Carrier && !rates.is_empty() && !has(Second) && !has(Minute) {
        mistakes.push(mistake(at, "must have one for minute or second; it may be 0"));
    }
    for (index, Rate { unit, usd, .. }) in rates.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if !allowed.contains(unit) {
            let allowed: Vec<_> = allowed.iter().map(|unit| unit.as_str()).collect();
            let message = format!("of a {} price must be one of {}", kind.as_str(), allowed.join(", "));
            mistakes.push(mistake(format!("{at}.unit"), message));
        } else if rates[..index].iter().any(|before| before.unit == *unit) {
            mistakes.push(mistake(format!("{at}.unit"), "must not be repeated"));
        }
        if usd.is_sign_negative() && !usd.is_zero() || *usd > MAX_USD {
            mistakes.push(mistake(format!("{at}.usd"), format!("must be 0 to {MAX_USD}")));
        } else if usd.normalize().scale() > COST_SCALE {
            mistakes.push(mistake(format!("{at}.usd"), format!("must have at most {COST_SCALE} decimals")));
        }
    }
}

fn check_name(mistakes: &mut Vec<Mistake>, field: String, name: &str) {
    if name.is_empty() || name.trim() != name || name.chars().count() > MAX_NAME_CHARS {
        let message = format!("must have 1 to {MAX_NAME_CHARS} characters, without space around them");
        mistakes.push(mistake(field, message));
    } else if name.chars().any(char::is_control) {
        mistakes.push(mistake(field, "must have no control characters"));
    }
}

fn mistake(field: impl Into<String>, message: impl Into<String>) -> Mistake {
    Mistake { field: field.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use events::prices::Per;

    use super::*;

    fn rate(unit: Unit, usd: &str) -> Rate {
        Rate { unit, usd: Decimal::from_str_exact(usd).unwrap(), per: Per::Million }
    }

    fn price(kind: PriceKind, model: Option<&str>, rates: Vec<Rate>) -> Price {
        Price { kind, provider: "openai".to_owned(), model: model.map(str::to_owned), rates }
    }

    fn model(rates: Vec<Rate>) -> Price {
        price(PriceKind::Model, Some("gpt"), rates)
    }

    fn both() -> Vec<Rate> {
        vec![rate(Unit::Input, "2"), rate(Unit::Output, "8")]
    }

    #[test]
    fn a_list_that_says_all_it_must_has_no_mistakes() {
        let list = [
            model(both()),
            price(PriceKind::Model, None, both()),
            price(PriceKind::Synthesis, None, vec![rate(Unit::Character, "15")]),
            price(PriceKind::Carrier, None, vec![rate(Unit::Minute, "0"), rate(Unit::Request, "0.001")]),
        ];
        assert_eq!(mistakes(&list), []);
        assert_eq!(mistakes(&[]), []);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let with = |rates: Vec<Rate>| mistakes(&[model(rates)]);
        let more = |rate: Rate| with([both(), vec![rate]].concat());
        for (found, field, message) in [
            (with(vec![]), "prices[0].rates", "must not be empty"),
            (with(vec![rate(Unit::Input, "1")]), "prices[0].rates", "must have one for output"),
            (
                more(rate(Unit::Minute, "1")),
                "prices[0].rates[2].unit",
                "of a model price must be one of input",
            ),
            (more(rate(Unit::Input, "1")), "prices[0].rates[2].unit", "must not be repeated"),
            (more(rate(Unit::Request, "-0.1")), "prices[0].rates[2].usd", "must be 0 to 1000000"),
            (more(rate(Unit::Request, "1000000.1")), "prices[0].rates[2].usd", "must be 0 to 1000000"),
            (more(rate(Unit::Request, "0.0000000000001")), "prices[0].rates[2].usd", "at most 12 decimals"),
            (
                mistakes(&[model(both()), model(both())]),
                "prices[1]",
                "the second model price for openai, gpt",
            ),
            (
                mistakes(&[price(PriceKind::Carrier, Some("x"), vec![rate(Unit::Minute, "1")])]),
                "prices[0].model",
                "must be left out",
            ),
            (
                mistakes(&[price(PriceKind::Carrier, None, vec![rate(Unit::Request, "1")])]),
                "prices[0].rates",
                "minute or second",
            ),
            (mistakes(&[price(PriceKind::Model, Some(" gpt"), both())]), "prices[0].model", "without space"),
            (mistakes(&vec![model(both()); MAX_PRICES + 1]), "prices", "at most 1000"),
        ] {
            let [found] = &found[..] else { panic!("{message}: {found:?}") };
            assert_eq!(found.field, field, "{found:?}");
            assert!(found.message.contains(message), "{found:?}");
        }
    }
}
