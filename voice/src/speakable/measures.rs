//! Numbers with what they count: percentages, units, fractions, ranges, ordinals.

use super::numbers::{Number, cardinal, digits, fraction, is_digits, ordinal};
use super::tokens::{Here, Said};

/// Short form, one, many.
const UNITS: [(&str, &str, &str); 44] = [
    ("%", "percent", "percent"),
    ("°C", "degree Celsius", "degrees Celsius"),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit"),
    ("°", "degree", "degrees"),
    ("kg", "kilogram", "kilograms"),
    ("g", "gram", "grams"),
    ("mg", "milligram", "milligrams"),
    ("km", "kilometer", "kilometers"),
    ("m", "meter", "meters"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("km/h", "kilometer per hour", "kilometers per hour"),
    ("kph", "kilometer per hour", "kilometers per hour"),
    ("mph", "mile per hour", "miles per hour"),
    ("mi", "mile", "miles"),
    ("ft", "foot", "feet"),
    ("in", "inch", "inches"),
    ("yd", "yard", "yards"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("l", "liter", "liters"),
    ("L", "liter", "liters"),
    ("ml", "milliliter", "milliliters"),
    ("mL", "milliliter", "milliliters"),
    ("gal", "gallon", "gallons"),
    ("s", "second", "seconds"),
    ("sec", "second", "seconds"),
    ("secs", "second", "seconds"),
    ("ms", "millisecond", "milliseconds"),
    ("min", "minute", "minutes"),
    ("mins", "minute", "minutes"),
    ("h", "hour", "hours"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("KB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("Mbps", "megabit per second", "megabits per second"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("kW", "kilowatt", "kilowatts"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
];
/// Unit or word: only after a number without a space, or as a word of their own they stay what they are.
const ALSO_WORDS: [&str; 6] = ["in", "m", "s", "g", "l", "h"];
const HALVES: [(char, &str); 8] = [
    ('½', "one half"),
    ('¼', "one quarter"),
    ('¾', "three quarters"),
    ('⅓', "one third"),
    ('⅔', "two thirds"),
    ('⅛', "one eighth"),
    ('⅜', "three eighths"),
    ('⅝', "five eighths"),
];

/// "5kg", "5 kg", "20%", "25°C", "5-10%", "2x".
pub(super) fn measure(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let digits_end = core.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (number, attached) = core.split_at(digits_end);
    if attached == "x" {
        return Said::one(format!("{} times", Number::parse(number)?.words()));
    }
    let (unit, used) = match attached {
        "" => (here.after(1).filter(|next| !ALSO_WORDS.contains(&next.core))?.core, 2),
        attached => (attached, 1),
    };
    let (_, one, many) = UNITS.iter().find(|(short, _, _)| *short == unit)?;
    let (words, is_one) = match number.split_once(['-', '–']).filter(|(low, _)| !low.is_empty()) {
        Some((low, high)) => {
            let low = UNITS.iter().find_map(|(short, _, _)| low.strip_suffix(short)).unwrap_or(low);
            (format!("{} to {}", Number::parse(low)?.words(), Number::parse(high)?.words()), false)
        }
        None => {
            let number = Number::parse(number)?;
            (number.words(), number.is_one())
        }
    };
    let said = Said::several(format!("{words} {}", if is_one { one } else { many }), used)?;
    Some(Said { swallows_stop: used == 2, ..said })
}

/// "1/2", "2 1/2", "½", "2½", "24/7".
pub(super) fn part(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    if core == "24/7" {
        return Said::one("twenty-four seven".to_owned());
    }
    if let Some(said) = small_part(core) {
        return Said::one(said);
    }
    let whole = Number::parse(core).filter(|number| number.decimals.is_none())?;
    let part = small_part(here.after(1)?.core)?;
    Said::several(format!("{} and {}", whole.words(), part.replace("one half", "a half")), 2)
}

fn small_part(text: &str) -> Option<String> {
    if let Some((over, under)) = text.split_once('/') {
        return (is_digits(over) && is_digits(under)).then(|| fraction(over, under))?;
    }
    let last = text.chars().next_back()?;
    let (_, said) = HALVES.iter().find(|(sign, _)| *sign == last)?;
    let whole = &text[..text.len() - last.len_utf8()];
    if whole.is_empty() {
        return Some((*said).to_owned());
    }
    Some(format!("{} and {}", Number::parse(whole)?.words(), said.replace("one half", "a half")))
}

/// "9-5", "10–20", "1st-3rd", "3:1".
pub(super) fn range(here: &Here<'_>) -> Option<Said> {
    let (from, to) = here.core().split_once(['-', '–', '—', ':'])?;
    let side = |text: &str| {
        let short = text.len() <= 5 && !(text.len() > 1 && text.starts_with('0') && !text.contains('.'));
        Number::parse(text).filter(|_| short).map(|number| number.words()).or_else(|| place(text))
    };
    Said::one(format!("{} to {}", side(from)?, side(to)?))
}

/// "1st", "22nd".
pub(super) fn rank(here: &Here<'_>) -> Option<Said> {
    Said::one(place(here.core())?)
}

fn place(core: &str) -> Option<String> {
    let digits = core.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = core[digits.len()..].to_lowercase();
    let number = Number::parse(digits).filter(|number| number.decimals.is_none() && !number.negative)?;
    ["st", "nd", "rd", "th"].contains(&suffix.as_str()).then(|| ordinal(&number.whole))
}

/// "1,234.5", "-5", "+3", "#5", "~20", "≥3", "v2", "1.2.3".
pub(super) fn number(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let signs = [
        ("#", "number "),
        ("~", "about "),
        ("≈", "about "),
        ("≥", "at least "),
        ("≤", "at most "),
        ("±", "plus or minus "),
        ("+", "plus "),
        (">", "more than "),
        ("<", "less than "),
    ];
    let signed = signs.iter().find_map(|(sign, said)| core.strip_prefix(sign).map(|rest| (*said, rest)));
    let (said, rest) = signed.unwrap_or(("", core));
    let (rest, plus) = match rest.strip_suffix('+') {
        Some(rest) => (rest, " plus"),
        None => (rest, ""),
    };
    if said == "number " && rest.len() > 3 && is_digits(rest) {
        return Said::one(format!("number {}", digits(rest)));
    }
    if let Some(number) = Number::parse(rest) {
        return Said::one(format!("{said}{}{plus}", number.words()));
    }
    let parts: Vec<&str> = rest.split('.').collect();
    let is_version = parts.len() > 2 && parts.iter().all(|part| is_digits(part));
    is_version
        .then(|| Said::one(parts.iter().map(|part| cardinal(part)).collect::<Vec<_>>().join(" point ")))?
}
