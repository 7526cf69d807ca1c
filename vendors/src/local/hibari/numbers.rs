//! Digits as words. Callers have put numbers into words already; what is left is read out plainly.

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
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(u64, &str); 3] = [(1_000_000_000, "billion"), (1_000_000, "million"), (1_000, "thousand")];
/// A longer row of digits is a number only to a machine.
const MOST_DIGITS: usize = 12;

/// A row of digits: as one number, or one by one when it begins with a zero or is long.
pub(super) fn row(digits: &str) -> Vec<&'static str> {
    let is_plain = digits.len() <= MOST_DIGITS && (digits.len() == 1 || !digits.starts_with('0'));
    match digits.parse() {
        Ok(number) if is_plain => cardinal(number),
        _ => one_by_one(digits),
    }
}

pub(super) fn one_by_one(digits: &str) -> Vec<&'static str> {
    digits.bytes().filter(u8::is_ascii_digit).map(|digit| ONES[usize::from(digit - b'0')]).collect()
}

/// The last word of a number, for a place in a row: first, twentieth.
pub(super) fn ordinal(word: &str) -> String {
    match word {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        word => word.strip_suffix('y').map_or_else(|| format!("{word}th"), |stem| format!("{stem}ieth")),
    }
}

fn cardinal(number: u64) -> Vec<&'static str> {
    if let Some(one) = usize::try_from(number).ok().and_then(|at| ONES.get(at)) {
        return vec![one];
    }
    let (mut words, mut rest) = (Vec::new(), number);
    for (scale, name) in SCALES {
        if rest >= scale {
            words.extend(cardinal(rest / scale));
            words.push(name);
            rest %= scale;
        }
    }
    if rest >= 100 {
        words.extend(cardinal(rest / 100));
        words.push("hundred");
        rest %= 100;
    }
    if rest >= 20 {
        words.extend(TENS.get(usize::try_from(rest / 10).unwrap_or_default().wrapping_sub(2)));
        rest %= 10;
    }
    if rest > 0 {
        words.extend(cardinal(rest));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_numbers_and_others_digit_by_digit() {
        let said = |digits: &str| row(digits).join(" ");
        assert_eq!(said("0"), "zero");
        assert_eq!(said("13"), "thirteen");
        assert_eq!(said("80"), "eighty");
        assert_eq!(said("2042"), "two thousand forty two");
        assert_eq!(said("999999999999").split(' ').count(), 19);
        assert_eq!(said("1000000"), "one million");
        assert_eq!(said("001"), "zero zero one");
        assert_eq!(said("1234567890123"), one_by_one("1234567890123").join(" "));
    }
}
