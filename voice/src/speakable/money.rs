//! Amounts of money.

use super::numbers::{Number, cardinal, is_digits};
use super::tokens::{Here, Said};

struct Currency {
    signs: &'static [&'static str],
    code: &'static str,
    one: &'static str,
    many: &'static str,
    cent: &'static str,
    cents: &'static str,
}

const fn currency(signs: &'static [&'static str], code: &'static str, names: [&'static str; 4]) -> Currency {
    let [one, many, cent, cents] = names;
    Currency { signs, code, one, many, cent, cents }
}

const CURRENCIES: [Currency; 10] = [
    currency(&["US$", "$"], "USD", ["dollar", "dollars", "cent", "cents"]),
    currency(&["€"], "EUR", ["euro", "euros", "cent", "cents"]),
    currency(&["£"], "GBP", ["pound", "pounds", "penny", "pence"]),
    currency(&["¥"], "JPY", ["yen", "yen", "sen", "sen"]),
    currency(&["₹"], "INR", ["rupee", "rupees", "paisa", "paise"]),
    currency(&["C$", "CA$"], "CAD", ["Canadian dollar", "Canadian dollars", "cent", "cents"]),
    currency(&["A$", "AU$"], "AUD", ["Australian dollar", "Australian dollars", "cent", "cents"]),
    currency(&[], "CHF", ["Swiss franc", "Swiss francs", "centime", "centimes"]),
    currency(&["₩"], "KRW", ["won", "won", "jeon", "jeon"]),
    currency(&[], "CNY", ["yuan", "yuan", "fen", "fen"]),
];

const MAGNITUDES: [(&str, &str); 11] = [
    ("k", "thousand"),
    ("m", "million"),
    ("mn", "million"),
    ("mm", "million"),
    ("b", "billion"),
    ("bn", "billion"),
    ("t", "trillion"),
    ("thousand", "thousand"),
    ("million", "million"),
    ("billion", "billion"),
    ("trillion", "trillion"),
];

/// "$42.50", "15,000.00 USD", "EUR 20", "$1.2M", "£5 million", "50¢", "$5-$10", "$5/month".
pub(super) fn money(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    if let Some(cents) = core.strip_suffix('¢').and_then(Number::parse) {
        let unit = if cents.is_one() { "cent" } else { "cents" };
        return Said::one(format!("{} {unit}", cents.words()));
    }
    if let Some((amount, per)) = core.split_once('/')
        && per.chars().all(char::is_alphabetic)
        && let Some((currency, rest)) = by_sign(amount)
    {
        let per = [("mo", "month"), ("yr", "year"), ("hr", "hour"), ("wk", "week")]
            .iter()
            .find_map(|(short, long)| (per == *short).then_some(*long))
            .unwrap_or(per);
        return Said::one(format!("{} per {per}", amount_words(rest, None, currency)?));
    }
    if let Some((currency, rest)) = by_sign(core) {
        if let Some((low, high)) = rest.split_once(['-', '–']).filter(|(low, _)| !low.is_empty()) {
            let high = by_sign(high).map_or(high, |(_, high)| high);
            let low = Number::parse(low)?.words();
            return Said::one(format!("{low} to {}", amount_words(high, None, currency)?));
        }
        return signed(here, currency, rest);
    }
    let code = CURRENCIES.iter().find(|known| known.code == core);
    if let Some(currency) = code
        && let Some(next) = here.after(1)
        && let Some(words) = amount_words(next.core, None, currency)
    {
        return Said::several(words, 2);
    }
    let next = here.after(1)?;
    let (magnitude, used) = match magnitude(next.core).filter(|_| next.core.len() > 2) {
        Some(magnitude) => (Some(magnitude), 2),
        None => (None, 1),
    };
    let unit = here.after(used)?.core;
    let currency = CURRENCIES.iter().find(|known| known.code == unit || known.signs.contains(&unit))?;
    Said::several(amount_words(core, magnitude, currency)?, used + 1)
}

/// After the sign: the number, a magnitude in the next token, and the code again ("$5 million USD").
fn signed(here: &Here<'_>, currency: &Currency, rest: &str) -> Option<Said> {
    let (mut used, mut scale) = (1, None);
    if let Some(next) = here.after(1).filter(|next| next.core.len() > 1)
        && let Some(found) = magnitude(next.core)
    {
        (used, scale) = (2, Some(found));
    }
    if here.after(used).is_some_and(|next| next.core == currency.code) {
        used += 1;
    }
    Said::several(amount_words(rest, scale, currency)?, used)
}

/// The currency whose sign `text` begins with (after a minus) or ends with, and the rest.
fn by_sign(text: &str) -> Option<(&'static Currency, &str)> {
    let signs = CURRENCIES.iter().flat_map(|known| known.signs.iter().map(move |sign| (known, *sign)));
    // The longest sign that fits, so that "US$" is not taken for "$" after letters.
    let fits = signs.filter_map(|(known, sign)| {
        let rest = text.strip_prefix(sign).or_else(|| text.strip_suffix(sign))?;
        rest.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '-').then_some((
            known,
            rest,
            sign.len(),
        ))
    });
    let found = fits.max_by_key(|(_, _, length)| *length).map(|(known, rest, _)| (known, rest));
    found.or_else(|| {
        let rest = text.strip_prefix(['-', '−'])?;
        let (known, _) = by_sign(rest).filter(|(_, rest)| !rest.starts_with('-'))?;
        // The sign goes from before the currency to before the number.
        known.signs.iter().find_map(|sign| rest.strip_prefix(sign)).map(|_| (known, text))
    })
}

fn magnitude(word: &str) -> Option<&'static str> {
    let lower = word.to_lowercase();
    MAGNITUDES.iter().find(|(short, _)| *short == lower).map(|(_, long)| *long)
}

/// `number` with what is attached to it ("1.2M"), in a currency.
fn amount_words(number: &str, scale: Option<&'static str>, currency: &Currency) -> Option<String> {
    let unsigned = number.trim_start_matches(['-', '−']);
    let is_negative = unsigned.len() < number.len();
    let unsigned = currency.signs.iter().find_map(|sign| unsigned.strip_prefix(sign)).unwrap_or(unsigned);
    let digits_end = unsigned.trim_end_matches(char::is_alphabetic).len();
    let attached = &unsigned[digits_end..];
    let scale = if attached.is_empty() { scale } else { Some(magnitude(attached)?) };
    let amount = Number::parse(&unsigned[..digits_end])?;
    let said = match (&amount.decimals, scale) {
        (_, Some(scale)) => format!("{} {scale} {}", amount.words(), currency.many),
        (Some(cents), None) if cents.len() == 2 && is_digits(cents) => {
            with_cents(&amount.whole, cents, currency)
        }
        _ => format!("{} {}", amount.words(), if amount.is_one() { currency.one } else { currency.many }),
    };
    Some(if is_negative { format!("minus {said}") } else { said })
}

fn with_cents(whole: &str, cents: &str, currency: &Currency) -> String {
    let units = format!("{} {}", cardinal(whole), if whole == "1" { currency.one } else { currency.many });
    let cents = cents.trim_start_matches('0');
    let small = format!("{} {}", cardinal(cents), if cents == "1" { currency.cent } else { currency.cents });
    match (whole, cents) {
        (_, "") => units,
        ("0", _) => small,
        _ => format!("{units} and {small}"),
    }
}

/// "100K", "1.2M": a number with its magnitude attached.
pub(super) fn magnified(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let number = core.strip_suffix(['K', 'M', 'B'])?;
    let scale = magnitude(&core[number.len()..])?;
    // "4K" is a picture's size, "12B" a room; decimals and numbers of some length are amounts.
    let is_amount = number.contains('.') || (number.len() > 1 && !core.ends_with('B'));
    is_amount.then_some(())?;
    Said::one(format!("{} {scale}", Number::parse(number)?.words()))
}
