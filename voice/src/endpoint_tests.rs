use proptest::prelude::*;

use super::*;

fn check(asked: Asked, expected: Ending, phrases: &[&str]) {
    let wrong: Vec<String> = phrases
        .iter()
        .map(|words| {
            (words, ending(&Said { words, up_to_date: true, language: "en-US", asked, end_of_turn: None }))
        })
        .filter(|(_, found)| *found != expected)
        .map(|(words, found)| format!("{words:?} is {found:?}"))
        .collect();
    assert!(wrong.is_empty(), "not {expected:?}: {}", wrong.join(", "));
}

#[test]
fn whole_sentences_and_questions() {
    check(
        Asked::Anything,
        Ending::Complete,
        &[
            "I want to cancel my order.",
            "My order has not arrived.",
            "What is the status of my invoice?",
            "what time do you open",
            "where is my package now",
            "Can you help me?",
            "Can you help me please?",
            "could you repeat that please",
            "Who is it for?",
            "Why?",
            "I don't know what it is.",
            "That's all, thank you.",
            "thank you",
            "okay bye",
            "no thanks",
            "Yes.",
            "no",
            "Of course.",
            "I think so.",
            "It works as well.",
            "I'd like that one.",
            "Yes, please.",
            "Tell me where it is.",
            "My number is 415 555 0100.",
        ],
    );
}

#[test]
fn sentences_that_want_more() {
    check(
        Asked::Anything,
        Ending::Unfinished,
        &[
            "I want to",
            "I want to cancel my",
            "My number is",
            "My number is.",
            "my name is",
            "I was wondering if",
            "It broke because",
            "The order and",
            "The order and.",
            "I'd like to",
            "I am looking for a",
            "I have a question about",
            "can I",
            "could you",
            "It's for my",
            "I need the",
            "Yes, and",
            "no but",
            "I called you from",
            "The problem is",
            "with the",
            "She said it was a very",
            "We're",
        ],
    );
    check(
        Asked::Anything,
        Ending::Trailing,
        &[
            "First of all,",
            "Yes,",
            "The invoice...",
            "I paid it on",
            "I want to know what",
            "and then",
            "The red one, maybe",
            "I ordered these",
            "It was — ",
            "what is this for",
        ],
    );
    check(
        Asked::Anything,
        Ending::Thinking,
        &[
            "um",
            "I want um",
            "It is, uh...",
            "So",
            "well,",
            "Let me see.",
            "you know",
            "my number is um",
            "hmm",
            "Yes, so",
        ],
    );
}

#[test]
fn words_that_say_nothing() {
    check(
        Asked::Anything,
        Ending::Open,
        &[
            "",
            " ",
            "...",
            "Invoice.",
            "the invoice",
            "I paid the invoice yesterday",
            "Order four",
            "Hello.",
            "what now",
            "I don't know where it is",
        ],
    );
}

#[test]
fn digits_and_letters() {
    check(
        Asked::Anything,
        Ending::Dictating,
        &[
            "my number is 415",
            "It's 415-555",
            "four one five",
            "four one five five five five",
            "S M I",
            "it is A B",
            "double four one",
            "415.",
        ],
    );
    check(
        Asked::Number,
        Ending::Dictating,
        &[
            "415",
            "415 555",
            "four one five, five five five",
            "4",
            "It's four",
            "one two three four five six seven eight nine",
        ],
    );
    check(
        Asked::Number,
        Ending::Answered,
        &[
            "415 555 0100",
            "(415) 555-0100",
            "+1 415 555 0100",
            "four one five five five five oh one double oh",
            "4111 1111 1111 1111",
        ],
    );
    check(Asked::Number, Ending::Unfinished, &["my number is", "it's on the"]);
    check(Asked::Spelling, Ending::Dictating, &["S", "S M", "it's J"]);
}

#[test]
fn answers_to_what_was_asked() {
    check(
        Asked::YesOrNo,
        Ending::Answered,
        &["Yes.", "yes", "No", "no.", "Yeah", "Sure!", "That's right.", "I do", "Yes, please."],
    );
    check(Asked::YesOrNo, Ending::Trailing, &["Yes,", "no..."]);
    check(Asked::YesOrNo, Ending::Unfinished, &["Yes, but", "No, I want the"]);
    check(Asked::Date, Ending::Unfinished, &["on the", "May the", "it was the"]);
    check(
        Asked::Email,
        Ending::Answered,
        &[
            "billing@tech-corp.com",
            "It's anna@example.org.",
            "anna at example dot com",
            "anna dot smith at example dot co dot uk",
        ],
    );
    check(
        Asked::Email,
        Ending::Dictating,
        &["anna", "anna at", "anna at example dot", "It's anna dot smith", "anna@example"],
    );
}

#[test]
fn what_was_asked_is_told_by_the_agents_words() {
    for (agent_said, asked) in [
        ("Is that right?", Asked::YesOrNo),
        ("Would you like to pay now?", Asked::YesOrNo),
        ("I found it. Do you have another question?", Asked::YesOrNo),
        ("Is your number 415 555 0100?", Asked::YesOrNo),
        ("Your order is on Monday, correct?", Asked::YesOrNo),
        ("Thanks. What is your phone number?", Asked::Number),
        ("Please tell me your order number.", Asked::Number),
        ("May I have your e-mail address?", Asked::Email),
        ("Could you spell your last name?", Asked::Spelling),
        ("What is your date of birth?", Asked::Date),
        ("Which day suits you?", Asked::Date),
        ("How can I help you today?", Asked::Anything),
        ("What is the problem?", Asked::Anything),
        ("Your order number is 5.", Asked::Anything),
        ("", Asked::Anything),
    ] {
        assert_eq!(Asked::by(agent_said), asked, "{agent_said}");
    }
}

fn needed(words: &str, end_of_turn: Option<f32>) -> u128 {
    let said = Said { words, up_to_date: true, end_of_turn, ..Said::default() };
    silence_needed(&Config::default(), &said).as_millis()
}

#[test]
fn silences_follow_the_words() {
    assert_eq!(needed("", None), 500);
    assert_eq!(needed("What is the status of my order?", None), 300);
    assert_eq!(needed("My number is", None), 1_200);
    assert_eq!(needed("um", None), 1_500);
}

#[test]
fn other_languages_are_judged_by_their_marks() {
    let german = |words| ending(&Said { words, up_to_date: true, language: "de-DE", ..Said::default() });
    assert_eq!(german("Ich möchte meine Bestellung stornieren."), Ending::Complete);
    assert_eq!(german("Wirklich?"), Ending::Complete);
    assert_eq!(german("Ich rufe an, um"), Ending::Open);
    assert_eq!(german("Erstens,"), Ending::Trailing);
    assert_eq!(german("Ja."), Ending::Open);
}

#[test]
fn old_words_say_nothing() {
    let said = Said { words: "My number is", up_to_date: false, ..Said::default() };
    assert_eq!(silence_needed(&Config::default(), &said), Config::default().base);
}

#[test]
fn the_voice_and_the_words_are_weighed() {
    assert_eq!(needed("What is the status of my order?", Some(0.98)), 287);
    assert!((700..=730).contains(&needed("My number is", Some(1.0))));
    assert!((1_140..=1_160).contains(&needed("What is the status of my order?", Some(0.0))));
    assert_eq!(needed("", Some(f32::NAN)), 500);
}

#[test]
fn a_turn_is_over_after_its_silence() {
    let said = Said { words: "I paid it already.", up_to_date: true, ..Said::default() };
    assert!(!is_over(&Config::default(), &said, Duration::from_millis(280)));
    assert!(is_over(&Config::default(), &said, Duration::from_millis(300)));
}

proptest! {
    #[test]
    fn a_likelier_end_never_waits_longer(words in "[a-z ,.?]{0,40}", low in 0.0_f32..=1.0, high in 0.0_f32..=1.0) {
        let (low, high) = (low.min(high), low.max(high));
        prop_assert!(needed(&words, Some(high)) <= needed(&words, Some(low)));
    }

    #[test]
    fn silences_keep_their_limits(words in any::<String>(), asked in 0_usize..6, probability in prop::option::of(any::<f32>())) {
        let asked = [Asked::Anything, Asked::YesOrNo, Asked::Number, Asked::Date, Asked::Email, Asked::Spelling][asked];
        let config = Config::default();
        let silence = silence_needed(&config, &Said { words: &words, up_to_date: true, asked, end_of_turn: probability, ..Said::default() });
        prop_assert!(config.shortest <= silence && silence <= config.longest);
    }
}
