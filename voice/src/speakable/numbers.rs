//! Numbers in English words.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 5] = ["", " thousand", " million", " billion", " trillion"];
/// More digits than these are said one by one.
const MOST_DIGITS: usize = 15;

/// A number as it is written: sign, grouped or plain digits, decimals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    pub negative: bool,
    /// Without separators, never empty.
    pub whole: String,
    /// The digits after the point, if there is one.
    pub decimals: Option<String>,
}

impl Number {
    /// `-1,234.50`; `None` for anything else, as for groups that are none.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '−']);
        let (negative, text) = (unsigned.is_some(), unsigned.unwrap_or(text));
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals)) if is_digits(decimals) => (whole, Some(decimals.to_owned())),
            Some(_) => return None,
            None => (text, None),
        };
        let whole = match whole {
            "" if decimals.is_some() => "0".to_owned(),
            whole => ungrouped(whole)?,
        };
        Some(Self { negative, whole, decimals })
    }

    pub fn words(&self) -> String {
        let mut out = if self.negative { "minus ".to_owned() } else { String::new() };
        out.push_str(&cardinal(&self.whole));
        if let Some(decimals) = &self.decimals {
            out.push_str(" point ");
            out.push_str(&digits(decimals));
        }
        out
    }

    pub fn is_one(&self) -> bool {
        !self.negative && self.whole == "1" && self.decimals.is_none()
    }
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits without their separators: groups of three, and of two as in India.
fn ungrouped(text: &str) -> Option<String> {
    let mut groups = text.split(',');
    let first = groups.next().filter(|first| is_digits(first))?;
    let rest: Vec<&str> = groups.collect();
    let grouped = first.len() <= 3
        && rest.iter().all(|group| is_digits(group) && (2..=3).contains(&group.len()))
        && rest.last().is_none_or(|last| last.len() == 3);
    (rest.is_empty() || grouped).then(|| text.replace(',', ""))
}

/// "one hundred five" for 105. Leading zeros and very long numbers are said digit by digit.
pub(super) fn cardinal(number: &str) -> String {
    if number.len() > MOST_DIGITS || (number.starts_with('0') && number.len() > 1) {
        return digits(number);
    }
    number.parse().map_or_else(|_| digits(number), say)
}

fn say(number: u64) -> String {
    if number < 1_000 {
        return below_thousand(number);
    }
    let mut parts = Vec::new();
    let (mut left, mut scale) = (number, 0);
    while left > 0 {
        if left % 1_000 > 0 {
            parts.push(format!("{}{}", below_thousand(left % 1_000), SCALES[scale]));
        }
        (left, scale) = (left / 1_000, scale + 1);
    }
    parts.reverse();
    parts.join(" ")
}

fn below_thousand(number: u64) -> String {
    let number = number as usize;
    match number {
        0..20 => ONES[number].to_owned(),
        20..100 if number.is_multiple_of(10) => TENS[number / 10].to_owned(),
        20..100 => format!("{}-{}", TENS[number / 10], ONES[number % 10]),
        _ if number.is_multiple_of(100) => format!("{} hundred", ONES[number / 100]),
        _ => format!("{} hundred {}", ONES[number / 100], below_thousand((number % 100) as u64)),
    }
}

/// "twenty-first" for 21.
pub(super) fn ordinal(number: &str) -> String {
    let cardinal = cardinal(number);
    let (start, last) = match cardinal.rfind([' ', '-']) {
        Some(at) => cardinal.split_at(at + 1),
        None => ("", cardinal.as_str()),
    };
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        tens if tens.ends_with('y') => format!("{}ieth", &tens[..tens.len() - 1]),
        other => format!("{other}th"),
    };
    format!("{start}{last}")
}

/// One by one: "four two". What is no digit is passed over.
pub(super) fn digits(text: &str) -> String {
    let said = text.bytes().filter(u8::is_ascii_digit).map(|digit| ONES[usize::from(digit - b'0')]);
    said.collect::<Vec<_>>().join(" ")
}

/// "twenty twenty-six", "two thousand five", "nineteen oh four": four digits as a year.
pub(super) fn year(year: &str) -> String {
    let Ok(number @ 1_000..10_000) = year.parse::<u64>() else { return cardinal(year) };
    let (century, rest) = (number / 100, number % 100);
    match rest {
        _ if century.is_multiple_of(10) && rest < 10 => say(number),
        0 => format!("{} hundred", say(century)),
        1..10 => format!("{} oh {}", say(century), say(rest)),
        _ => format!("{} {}", say(century), say(rest)),
    }
}

/// "a half", "three quarters"; `None` when a fraction of it is not said so.
pub(super) fn fraction(over: &str, under: &str) -> Option<String> {
    let (over, under): (u64, u64) = (over.parse().ok()?, under.parse().ok()?);
    let part = match under {
        2 if over == 1 => "half".to_owned(),
        2 => "halves".to_owned(),
        4 => "quarter".to_owned(),
        3 | 5..=10 | 16 | 20 | 32 | 64 | 100 => ordinal(&under.to_string()),
        _ => return None,
    };
    let plural = if over == 1 || under == 2 { "" } else { "s" };
    (0 < over && over < under).then(|| format!("{} {part}{plural}", say(over)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_said() {
        for (written, said) in [
            ("0", "zero"),
            ("12", "twelve"),
            ("40", "forty"),
            ("105", "one hundred five"),
            ("15,000", "fifteen thousand"),
            ("1,000,001", "one million one"),
            ("1,00,000", "one hundred thousand"),
            ("-3.50", "minus three point five zero"),
            (".5", "zero point five"),
            ("007", "zero zero seven"),
            (
                "999999999999999",
                "nine hundred ninety-nine trillion nine hundred ninety-nine billion nine hundred ninety-nine million nine hundred ninety-nine thousand nine hundred ninety-nine",
            ),
            (
                "1000000000000000",
                "one zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero",
            ),
        ] {
            assert_eq!(Number::parse(written).unwrap().words(), said, "{written}");
        }
        for none in ["", "1,2", "1.2.3", "1,0000", "a", "-", ".", "1.", "1e5"] {
            assert_eq!(Number::parse(none), None, "{none}");
        }
    }

    #[test]
    fn ordinals_and_years_are_said() {
        for (written, said) in [
            ("1", "first"),
            ("12", "twelfth"),
            ("20", "twentieth"),
            ("21", "twenty-first"),
            ("103", "one hundred third"),
        ] {
            assert_eq!(ordinal(written), said);
        }
        for (written, said) in [
            ("2026", "twenty twenty-six"),
            ("2005", "two thousand five"),
            ("2000", "two thousand"),
            ("1904", "nineteen oh four"),
            ("1900", "nineteen hundred"),
            ("1066", "ten sixty-six"),
        ] {
            assert_eq!(year(written), said);
        }
        assert_eq!(fraction("3", "4").as_deref(), Some("three quarters"));
        assert_eq!(fraction("1", "2").as_deref(), Some("one half"));
        assert_eq!(fraction("5", "4"), None);
    }

    /// The number that words say, by rules of its own.
    fn value(words: &str) -> u64 {
        let (mut total, mut group) = (0, 0);
        for word in words.split([' ', '-']) {
            let scale = SCALES.iter().position(|scale| scale.trim() == word);
            if word == "hundred" {
                group *= 100;
            } else if let Some(scale) = scale {
                total += group * 1_000_u64.pow(scale as u32);
                group = 0;
            } else if let Some(tens) = TENS.iter().position(|tens| *tens == word) {
                group += 10 * tens as u64;
            } else {
                group += ONES.iter().position(|ones| *ones == word).unwrap() as u64;
            }
        }
        total + group
    }

    proptest! {
        #[test]
        fn words_mean_the_number(number in prop_oneof![0_u64..3_000, 0_u64..1_000_000_000_000_000]) {
            prop_assert_eq!(value(&cardinal(&number.to_string())), number);
        }
    }
}
