//! Whether what a caller says into the agent's speech asks for the floor, or only shows that somebody listens.
//!
//! "Uh-huh" while the agent speaks is no interruption, "stop" and "yes, but" are. After the agent has asked something, "yeah"
//! is an answer: whoever asks must know who has the floor.

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Sounds and short words of a listener: the agent goes on.
    Backchannel,
    /// Words for the agent.
    Words,
    /// No words: silence, a cough, or what an engine writes for a noise.
    Nothing,
}

/// The listener's sounds of one language.
#[derive(Debug, Clone, Copy)]
pub struct Backchannels {
    /// Words and phrases, each word by [`normal`].
    phrases: &'static [&'static str],
    /// Sounds that are written in many ways: all words of these letters are one.
    hums: fn(&str) -> bool,
}

/// A listener is brief; longer speech holds more than its words tell.
const LONGEST_MS: u32 = 1_500;
/// "Yeah, yeah, okay, right" is the most.
const MOST_WORDS: usize = 5;

/// What listeners say in English. After the kinds in the Switchboard dialogue-act coding (Jurafsky, Shriberg, Biasca 1997:
/// continuers and assessments), whose most frequent ones are "uh-huh", "yeah", "right", "oh", "okay", "huh", "really".
const ENGLISH: [&str; 48] = [
    "yeah",
    "yea",
    "yah",
    "yep",
    "yup",
    "yes",
    "ya",
    "okay",
    "ok",
    "kay",
    "alright",
    "all right",
    "right",
    "sure",
    "cool",
    "great",
    "good",
    "nice",
    "fine",
    "perfect",
    "wow",
    "oh",
    "ah",
    "uh huh",
    "i see",
    "i know",
    "got it",
    "gotcha",
    "of course",
    "makes sense",
    "that makes sense",
    "thats right",
    "thats great",
    "thats good",
    "sounds good",
    "very good",
    "oh really",
    "really",
    "interesting",
    "exactly",
    "absolutely",
    "definitely",
    "totally",
    "true",
    "understood",
    "i understand",
    "oh wow",
    "go on",
];

/// Heard by engines that were trained on subtitles, when there was only noise.
const NOISES: [&str; 12] = [
    "music",
    "applause",
    "laughter",
    "laughs",
    "laughing",
    "silence",
    "blank audio",
    "inaudible",
    "noise",
    "cough",
    "coughs",
    "coughing",
];

impl Backchannels {
    /// Those of `language`, as `en-US`. For a language that has no list, hums alone count.
    #[must_use]
    pub fn for_language(language: &str) -> Self {
        let is_english = language.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("en"));
        Self { phrases: if is_english { &ENGLISH } else { &[] }, hums: is_hum }
    }

    /// What `text` is, said within `speech_ms` of voice while the agent speaks.
    #[must_use]
    pub fn classify(&self, text: &str, speech_ms: u32) -> Heard {
        let words = normal(text);
        if words.is_empty() {
            return Heard::Nothing;
        }
        let is_listening = words.len() <= MOST_WORDS && speech_ms <= LONGEST_MS && self.covers(&words);
        if is_listening { Heard::Backchannel } else { Heard::Words }
    }

    /// Whether the words are a row of phrases of the list, the longest taken first.
    fn covers(&self, words: &[String]) -> bool {
        if words.is_empty() {
            return true;
        }
        if (self.hums)(&words[0]) {
            return self.covers(&words[1..]);
        }
        (1..=words.len().min(3)).rev().any(|length| {
            let phrase = words[..length].join(" ");
            self.phrases.contains(&phrase.as_str()) && self.covers(&words[length..])
        })
    }
}

/// Words in small letters without marks; what stands in brackets or stars is a noise and goes. "M-hm." is "m", "hm".
fn normal(text: &str) -> Vec<String> {
    let mut spoken = String::with_capacity(text.len());
    let mut closing = None;
    for next in text.chars() {
        match (closing, next) {
            (Some(end), next) if next == end => closing = None,
            (Some(_), _) | (None, '♪' | '♫') => {}
            (None, '[') => closing = Some(']'),
            (None, '(') => closing = Some(')'),
            (None, '*') => closing = Some('*'),
            (None, '\'' | '’') => {}
            (None, next) if next.is_alphanumeric() => spoken.extend(next.to_lowercase()),
            (None, _) => spoken.push(' '),
        }
    }
    let words: Vec<String> = spoken.split_whitespace().map(str::to_owned).collect();
    if NOISES.contains(&words.join(" ").as_str()) { Vec::new() } else { words }
}

/// "mm", "mhm", "hmm", "uh", "huh", "aha", "um", "ooh", "er", "eh" in whatever letters an engine has for them.
fn is_hum(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    let has_only = |allowed: &str| letters.iter().all(|letter| allowed.contains(*letter));
    let hummed = has_only("mhn") && letters.iter().any(|letter| *letter == 'm' || letters.len() > 1);
    let breathed = has_only("uhaoem") && letters.contains(&'h') && word != "me" && word != "home";
    hummed
        || (breathed && letters.len() <= 6)
        || matches!(word, "um" | "umm" | "uhm" | "er" | "erm" | "ähm" | "öh" | "äh" | "euh" | "mmkay")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn english(text: &str, speech_ms: u32) -> Heard {
        Backchannels::for_language("en-US").classify(text, speech_ms)
    }

    #[test]
    fn listeners_do_not_interrupt() {
        for text in [
            "uh-huh",
            "Uh huh.",
            "Mm-hmm.",
            "M-hm",
            "Mm.",
            "Hmm",
            "Mhm!",
            "Aha.",
            "Ah",
            "Oh.",
            "Huh",
            "yeah",
            "Yeah.",
            "Yeah, yeah.",
            "Yep",
            "Okay.",
            "OK",
            "Ok, okay.",
            "Right.",
            "Right, right, right.",
            "All right.",
            "Alright",
            "I see.",
            "Oh, I see.",
            "Got it.",
            "Sure",
            "Oh wow",
            "Mhm, yeah.",
            "Yes.",
            "Yes, yes.",
            "Of course.",
            "That's right.",
            "That’s great!",
            "Makes sense.",
            "mmkay",
            "Uhm",
            "Oh, really?",
            "Hm, okay, I see.",
            "Good.",
        ] {
            assert_eq!(english(text, 600), Heard::Backchannel, "{text:?}");
        }
    }

    #[test]
    fn words_for_the_agent_are_words() {
        for text in [
            "yes but wait",
            "stop",
            "Stop.",
            "no",
            "No.",
            "Nope",
            "wait",
            "Hold on.",
            "hello?",
            "Yeah, I have a question.",
            "okay so what about",
            "what?",
            "sorry",
            "excuse me",
            "Right, but no",
            "I see a problem",
            "Okay, bye",
            "me",
            "Home.",
            "Human.",
            "an agent please",
            "um no",
            "uh wait",
            "thank you",
            "Yes, it is 5.",
            "5",
            "Could you repeat that?",
            "okay okay okay okay okay stop",
        ] {
            assert_eq!(english(text, 600), Heard::Words, "{text:?}");
        }
    }

    #[test]
    fn noises_are_nothing() {
        for text in [
            "",
            "  ",
            "...",
            "[BLANK_AUDIO]",
            "(coughs)",
            "*sigh*",
            "♪ ♪",
            "[music] (laughter)",
            "Music",
            "-",
            "[inaudible]",
        ] {
            assert_eq!(english(text, 600), Heard::Nothing, "{text:?}");
        }
        assert_eq!(english("[cough] stop", 600), Heard::Words);
        assert_eq!(english("(laughs) okay", 600), Heard::Backchannel);
    }

    #[test]
    fn a_listener_is_brief() {
        assert_eq!(english("yeah", 1_500), Heard::Backchannel);
        assert_eq!(english("yeah", 1_520), Heard::Words);
        assert_eq!(english("yeah yeah yeah yeah yeah yeah", 900), Heard::Words);
    }

    #[test]
    fn other_languages_hum_too() {
        let german = Backchannels::for_language("de-DE");
        assert_eq!(german.classify("Mhm.", 400), Heard::Backchannel);
        assert_eq!(german.classify("Ähm", 400), Heard::Backchannel);
        assert_eq!(german.classify("okay", 400), Heard::Words);
        assert_eq!(german.classify("Halt!", 400), Heard::Words);
    }

    #[test]
    fn the_list_is_written_as_words_are_compared() {
        for phrase in ENGLISH {
            assert_eq!(normal(phrase).join(" "), phrase);
            assert!(phrase.split(' ').count() <= 3, "{phrase}");
        }
    }

    proptest! {
        #[test]
        fn marks_and_capitals_change_nothing(phrase in prop::sample::select(ENGLISH.to_vec()), mark in "[.,!?… -]{0,3}") {
            let shown = format!("{mark}{}{mark}", phrase.to_uppercase());
            prop_assert_eq!(english(&shown, 500), Heard::Backchannel);
        }

        #[test]
        fn anything_is_something(text in any::<String>(), speech_ms in any::<u32>()) {
            let heard = english(&text, speech_ms);
            prop_assert_eq!(heard == Heard::Nothing, normal(&text).is_empty());
        }
    }
}
