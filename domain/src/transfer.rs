//! Whom a caller may be handed over to. A model is told things by strangers, so it chooses from its agent's own list
//! and can never make a number up: a prompt injection must not dial a premium number at the tenant's cost.

use events::session::Channel;

/// What an agent may have on its list.
pub const MAX_NUMBERS: usize = 10;

/// Why nobody is handed over. `Display` is for the model: what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("calls of this agent cannot be transferred: no number is set; say so and go on helping")]
    NoNumbers,
    #[error("{wanted} is not a number that calls may be transferred to; these are: {}", .allowed.join(", "))]
    NotAllowed { wanted: String, allowed: Vec<String> },
    #[error("say in to_number which of these is meant: {}", .allowed.join(", "))]
    Ambiguous { allowed: Vec<String> },
    #[error("this is a chat and cannot be transferred; give the customer the number to call: {}", .numbers.join(", "))]
    NoCall { numbers: Vec<String> },
}

/// The number to hand over to.
///
/// # Errors
/// When there is none that the agent allows, or no call to hand over.
pub fn number(channel: Channel, allowed: &[String], wanted: Option<&str>) -> Result<String, Refusal> {
    if allowed.is_empty() {
        return Err(Refusal::NoNumbers);
    }
    let found = match (wanted.map(plain).filter(|wanted| !wanted.is_empty()), allowed) {
        (Some(wanted), _) if allowed.contains(&wanted) => Ok(wanted),
        (Some(wanted), _) => Err(Refusal::NotAllowed { wanted, allowed: allowed.to_vec() }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Refusal::Ambiguous { allowed: allowed.to_vec() }),
    };
    match (channel, found) {
        (Channel::Voice, found) => found,
        (Channel::Chat, Ok(number)) => Err(Refusal::NoCall { numbers: vec![number] }),
        (Channel::Chat, Err(Refusal::Ambiguous { allowed })) => Err(Refusal::NoCall { numbers: allowed }),
        (Channel::Chat, refused) => refused,
    }
}

/// Models write numbers as people do.
fn plain(number: &str) -> String {
    number.chars().filter(|character| !matches!(character, ' ' | '-' | '.' | '/' | '(' | ')')).collect()
}

/// `+` and 7 to 15 digits, the first of them not 0: ITU-T E.164, section 6 (at most 15 digits with the country code).
pub fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESK: &str = "+493012345678";
    const SALES: &str = "+15550100200";
    const PREMIUM: &str = "+4990012345678";

    fn list(numbers: &[&str]) -> Vec<String> {
        numbers.iter().map(|number| (*number).to_owned()).collect()
    }

    #[test]
    fn a_number_of_the_list_is_taken_however_it_is_written() {
        let allowed = list(&[DESK, SALES]);
        for written in [DESK, "+49 30 1234-5678", " +49 (30) 12345678 "] {
            assert_eq!(number(Channel::Voice, &allowed, Some(written)), Ok(DESK.to_owned()), "{written}");
        }
    }

    #[test]
    fn a_number_outside_of_the_list_is_refused_on_every_channel_and_the_allowed_ones_are_named() {
        for allowed in [list(&[DESK]), list(&[DESK, SALES])] {
            for channel in [Channel::Voice, Channel::Chat] {
                for wanted in [PREMIUM, "+49301234567", "the boss"] {
                    let refused = number(channel, &allowed, Some(wanted)).unwrap_err();
                    assert!(matches!(refused, Refusal::NotAllowed { .. }), "{wanted}: {refused}");
                    assert!(refused.to_string().contains(DESK), "{refused}");
                }
            }
        }
    }

    #[test]
    fn the_only_number_may_be_left_out_and_one_of_several_may_not() {
        for nothing in [None, Some(""), Some(" ")] {
            assert_eq!(number(Channel::Voice, &list(&[DESK]), nothing), Ok(DESK.to_owned()));
            let refused = number(Channel::Voice, &list(&[DESK, SALES]), nothing).unwrap_err().to_string();
            assert!(refused.contains(DESK) && refused.contains(SALES), "{refused}");
        }
    }

    #[test]
    fn without_a_list_nobody_is_transferred() {
        for wanted in [None, Some(DESK)] {
            assert_eq!(number(Channel::Voice, &[], wanted), Err(Refusal::NoNumbers));
        }
    }

    #[test]
    fn in_a_chat_the_customer_is_given_the_number() {
        let told = number(Channel::Chat, &list(&[DESK, SALES]), Some(SALES)).unwrap_err().to_string();
        assert!(told.contains(SALES) && !told.contains(DESK), "{told}");
        let told = number(Channel::Chat, &list(&[DESK, SALES]), None).unwrap_err().to_string();
        assert!(told.contains(SALES) && told.contains(DESK), "{told}");
    }

    #[test]
    fn numbers_are_e164_or_not() {
        for good in [DESK, SALES, "+2904000", "+123456789012345"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in [
            "",
            "+",
            "4930123456",
            "+049301234",
            "+49 30 123456",
            "+123456",
            "+1234567890123456",
            "+4930١٢٣٤٥",
        ] {
            assert!(!is_e164(bad), "{bad}");
        }
    }
}
