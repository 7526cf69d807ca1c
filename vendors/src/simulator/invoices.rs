//! Invoice numbers in what people say, and invoices in words.

use serde_json::Value;

const PREFIX: &str = "INV-";

/// The invoice numbers in a text (`INV-`, at least two letters, `-`, digits), each once, in upper case, in
/// order.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    if !text.contains('-') {
        return numbers;
    }
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '-';
    for word in text.split(|character| !is_part(character)) {
        let word = word.to_ascii_uppercase();
        if let Some(number) = number_in(&word)
            && !numbers.iter().any(|known| known == number)
        {
            numbers.push(number.to_owned());
        }
    }
    numbers
}

/// A number that was spelled out to somebody who wrote down what they heard: "I-N-V-T-C-0-0-1", "INV TC double oh 1".
pub(super) fn spelled(text: &str) -> Option<String> {
    let words = text.to_ascii_uppercase();
    let mut heard = String::new();
    for word in words.split(|character: char| !character.is_ascii_alphanumeric()) {
        heard.push_str(match word {
            "ZERO" | "OH" => "0",
            "ONE" => "1",
            "TWO" => "2",
            "THREE" => "3",
            "FOUR" => "4",
            "FIVE" => "5",
            "SIX" => "6",
            "SEVEN" => "7",
            // What "N V" sounds like.
            "ENVY" => "NV",
            word => word,
        });
    }
    heard.match_indices("INV").find_map(|(at, _)| {
        let (letters, rest) = heard.get(at + 3..)?.split_at_checked(2)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let fits = letters.bytes().all(|byte| byte.is_ascii_uppercase()) && digits >= 3;
        fits.then(|| format!("{PREFIX}{letters}-{}", &rest[..3]))
    })
}

fn number_in(word: &str) -> Option<&str> {
    let start = word.find(PREFIX)?;
    let rest = &word[start + PREFIX.len()..];
    let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = rest.get(letters..)?.strip_prefix('-')?.bytes().take_while(u8::is_ascii_digit).count();
    (letters >= 2 && digits >= 1).then(|| &word[start..start + PREFIX.len() + letters + 1 + digits])
}

/// The result of a lookup in words; `asked` is the number that was looked up, where it is known.
pub(super) fn sentence(asked: Option<&str>, result: &str, failed: bool) -> String {
    let value: Value = serde_json::from_str(result).unwrap_or(Value::Null);
    let invoice = value.get("result").filter(|inner| inner.is_object()).unwrap_or(&value);
    let field = |name: &str| invoice.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let number = field("invoice_id").or(asked).unwrap_or("with that number");
    let amount = match invoice.get("amount") {
        Some(Value::String(amount)) => Some(thousands(amount)),
        Some(Value::Number(amount)) => Some(thousands(&amount.to_string())),
        _ => None,
    };
    let Some(amount) = amount.filter(|_| !failed) else {
        return format!("I could not find invoice {number}. Could you check the number, please?");
    };
    let currency = field("currency").unwrap_or("USD");
    let subject = field("description").map(|description| format!(" for {description}")).unwrap_or_default();
    let status = match field("status") {
        Some("pending") => "pending: the payment has not arrived yet",
        Some("overdue") => "overdue: please arrange the payment soon",
        Some(status) => status,
        None => "unknown",
    };
    format!("Invoice {number}{subject} is {amount} {currency} and its status is {status}.")
}

/// `15000.00` as `15,000.00`; what is no plain decimal stays as it is.
fn thousands(amount: &str) -> String {
    let (whole, fraction) =
        amount.split_once('.').map_or((amount, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return amount.to_owned();
    }
    let mut text = String::from(sign);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_wherever_they_stand() {
        assert_eq!(
            numbers("(inv-tc-001), INV-HF-0023. INV-ABC-7x"),
            ["INV-TC-001", "INV-HF-0023", "INV-ABC-7"]
        );
        for text in ["", "INV-", "INV-T-1", "INV-TC-", "INV-TC", "INV TC 001", "INV-12-12", "é-INV"] {
            assert!(numbers(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_number_that_was_spelled_out_is_understood() {
        for heard in [
            "status of invoice I-N-V-T-C-0-0-1?",
            "invoice INV TC 001",
            "I envy TC zero zero one.",
            "inv tc, oh oh 1",
        ] {
            assert_eq!(spelled(heard).as_deref(), Some("INV-TC-001"), "{heard}");
        }
        assert_eq!(spelled("I have an invoice of 001"), None);
    }

    #[test]
    fn amounts_get_their_commas() {
        let amounts = ["15000.00", "999", "1000", "1234567.5", "-1234", "n/a", ""].map(thousands);
        assert_eq!(amounts, ["15,000.00", "999", "1,000", "1,234,567.5", "-1,234", "n/a", ""]);
    }

    #[test]
    fn every_status_reads_naturally() {
        let say = |status: &str| {
            sentence(None, &format!(r#"{{"invoice_id":"I","amount":3200,"status":"{status}"}}"#), false)
        };
        assert_eq!(say("paid"), "Invoice I is 3,200 USD and its status is paid.");
        assert!(say("pending").contains("is pending:"));
        assert!(say("overdue").contains("is overdue:"));
    }

    #[test]
    fn what_is_no_invoice_was_not_found() {
        for (result, failed) in
            [("not found", true), ("null", false), (r#"{"error":"not_found"}"#, false), ("{}", true)]
        {
            assert!(
                sentence(Some("INV-TC-9"), result, failed).starts_with("I could not find invoice INV-TC-9.")
            );
        }
    }
}
