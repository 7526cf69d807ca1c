//! Cutting a text into what the model speaks in one breath.

/// The model was made for up to about 400 phonemes, which are as many characters.
const LONGEST: usize = 300;
/// With a period, and no end of a sentence.
const TITLES: [&str; 9] = ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Mt", "vs", "No"];

/// The sentences of a text, in order; long ones in parts.
pub(crate) fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        for (at, mark) in line.char_indices() {
            let end = at + mark.len_utf8();
            if matches!(mark, '.' | '!' | '?' | '…') && ends_sentence(&line[start..end], &line[end..]) {
                add(&line[start..end], &mut sentences);
                start = end;
            }
        }
        add(&line[start..], &mut sentences);
    }
    sentences
}

fn ends_sentence(before: &str, after: &str) -> bool {
    let next = after.trim_start().chars().next();
    if !after.starts_with(char::is_whitespace) || next.is_some_and(char::is_lowercase) {
        return false;
    }
    let Some(before) = before.strip_suffix('.') else { return true };
    let last = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_initial = last.chars().count() == 1 && last.chars().all(char::is_uppercase) && last != "I";
    // A letter may end a sentence too; two sentences in one breath do less harm than a name cut in two.
    !(is_initial || TITLES.contains(&last.trim_start_matches(['(', '"', '“'])))
}

/// Adds a sentence, in parts when it is long: after a comma or the like, else between words.
fn add(sentence: &str, sentences: &mut Vec<String>) {
    let mut rest = sentence.trim();
    while rest.len() > LONGEST {
        let most = rest.floor_char_boundary(LONGEST);
        let window = &rest[..most];
        let mut pauses = window.match_indices([',', ';', ':', '—']).map(|(at, mark)| at + mark.len());
        let pause = pauses.rfind(|end| rest[*end..].starts_with(char::is_whitespace));
        let cut = pause.or_else(|| window.rfind(char::is_whitespace)).filter(|cut| *cut > 0).unwrap_or(most);
        push(&rest[..cut], sentences);
        rest = rest[cut..].trim_start();
    }
    push(rest, sentences);
}

fn push(part: &str, sentences: &mut Vec<String>) {
    if part.chars().any(char::is_alphanumeric) {
        sentences.push(part.trim().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sentences_end_where_people_end_them() {
        let text =
            "Hello! Mr. Smith, is it you? It costs 3.5 dollars, e.g. today. Yes…\nNext line without an end";
        let expected = [
            "Hello!",
            "Mr. Smith, is it you?",
            "It costs 3.5 dollars, e.g. today.",
            "Yes…",
            "Next line without an end",
        ];
        assert_eq!(sentences(text), expected);
        assert_eq!(
            sentences("It is John F. Kennedy. So am I. Right."),
            ["It is John F. Kennedy.", "So am I.", "Right."]
        );
        assert!(sentences(" … \n ! ").is_empty());
    }

    #[test]
    fn a_long_sentence_is_cut_at_a_comma_before_it_is_cut_between_words() {
        let clause = "word ".repeat(30);
        let text = format!("{}, {}, {}.", clause.trim(), clause.trim(), clause.trim());
        let parts = sentences(&text);
        assert!(parts[0].ends_with("word,") && parts.iter().all(|part| part.len() <= LONGEST), "{parts:?}");
        assert!(sentences(&"x".repeat(1_000)).iter().all(|part| part.len() <= LONGEST));
    }

    proptest! {
        #[test]
        fn nothing_that_can_be_said_is_lost(text in "[a-zA-Zäö0-9 .,!?\n]{0,900}") {
            let letters = |text: &str| text.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&sentences(&text).join(" ")), letters(&text));
        }
    }
}
