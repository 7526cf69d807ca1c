//! What the simulated ears hear, whatever is said to them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

const MAX_PHRASES: usize = 1_000;
const MAX_CHARACTERS: usize = 1_000;
/// A caller in no hurry says about three words a second.
const MS_PER_WORD: u64 = 350;

/// A caller who talks with the assistant of a demo tenant.
const CONVERSATION: [&str; 6] = [
    "What is the status of invoice INV-TC-001?",
    "And what about invoice INV-TC-002?",
    "Can I pay it in two parts?",
    "How long do I have?",
    "Could you say that again, please?",
    "Thank you very much.",
];

/// The phrases of a conversation, in order; at least one. Cheap to clone.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Phrases(Arc<[String]>);

impl Default for Phrases {
    fn default() -> Self {
        Self(CONVERSATION.map(str::to_owned).into())
    }
}

impl Phrases {
    /// # Errors
    /// What they must be.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let phrases: Vec<String> = serde_json::from_value(value.clone()).unwrap_or_default();
        let fit = |phrase: &String| phrase.chars().count() <= MAX_CHARACTERS;
        if (1..=MAX_PHRASES).contains(&phrases.len()) && phrases.iter().all(fit) {
            Ok(Self(phrases.into()))
        } else {
            Err(format!("must be 1 to {MAX_PHRASES} strings of at most {MAX_CHARACTERS} characters"))
        }
    }

    /// The phrase of an utterance, counted from 0; after the last comes the first.
    pub(super) fn of(&self, utterance: u64) -> &str {
        usize::try_from(utterance % self.0.len() as u64)
            .ok()
            .and_then(|at| self.0.get(at))
            .map_or("", |it| it)
    }
}

/// As much of a phrase as is said in this time.
pub(super) fn said_within(phrase: &str, audio_ms: u64) -> &str {
    let words = usize::try_from(audio_ms / MS_PER_WORD).unwrap_or(usize::MAX);
    let end = phrase.match_indices(' ').map(|(at, _)| at).nth(words.saturating_sub(1));
    if words == 0 { "" } else { &phrase[..end.unwrap_or(phrase.len())] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn utterances_go_through_the_phrases_and_begin_again() {
        let phrases = Phrases::parse(&json!(["one", "two"])).unwrap();
        assert_eq!(
            [0, 1, 2, u64::MAX].map(|number| phrases.of(number).to_owned()),
            ["one", "two", "one", "two"]
        );
        for wrong in [json!([]), json!("one"), json!([1]), json!(["x".repeat(MAX_CHARACTERS + 1)])] {
            assert!(Phrases::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_come_one_after_another() {
        let heard = [0, 349, 350, 700, 1_050, 90_000].map(|ms| said_within("how are you", ms));
        assert_eq!(heard, ["", "", "how", "how are", "how are you", "how are you"]);
    }
}
