//! How long a silence must last before the caller's turn is taken to be over.
//!
//! A silence says little by itself: people pause in the middle of a sentence as long as after it. The words before it say more,
//! and a model of the voice's melody, where there is one, says more still.

mod lists;
mod words;

use std::time::Duration;

pub use words::Ending;

/// How long to wait. All times are silences since the last frame with voice.
///
/// The figures start from what is known of conversations: in ten languages the gap between turns is about 200 ms (Stivers
/// et al. 2009, *PNAS* 106:10587), and many pauses within a turn are longer than that, which is why a fixed silence either
/// interrupts or drags. 500 ms and more is what fixed silences are commonly set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// When the words say nothing either way, or there are none.
    pub base: Duration,
    /// After a sentence or a question that is whole.
    pub complete: Duration,
    /// After a whole answer to what was asked: yes, no, all digits of a telephone number.
    pub answered: Duration,
    /// After a comma, or a last word that may still be explained.
    pub trailing: Duration,
    /// After a word that wants another: "and", "the", "my number is".
    pub unfinished: Duration,
    /// After a filler: the caller thinks.
    pub thinking: Duration,
    /// While digits are read out or letters spelled.
    pub dictating: Duration,
    /// Never less, whatever is likely.
    pub shortest: Duration,
    /// Never more.
    pub longest: Duration,
    /// How much an end-of-turn probability weighs against the words, from 0 (not at all) to 1 (alone).
    pub probability_weight: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            complete: Duration::from_millis(300),
            answered: Duration::from_millis(260),
            trailing: Duration::from_millis(800),
            unfinished: Duration::from_millis(1_200),
            thinking: Duration::from_millis(1_500),
            dictating: Duration::from_millis(1_100),
            shortest: Duration::from_millis(240),
            longest: Duration::from_millis(2_000),
            probability_weight: 0.5,
        }
    }
}

/// What the agent asked for, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    #[default]
    Anything,
    YesOrNo,
    /// Digits that are read out: a telephone number, an account.
    Number,
    Date,
    Email,
    /// Letters, one by one.
    Spelling,
}

impl Asked {
    /// By the agent's own words: its last question.
    #[must_use]
    pub fn by(agent_said: &str) -> Self {
        words::asked(agent_said)
    }
}

/// What is known when a silence begins.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Said<'a> {
    /// The newest partial words of this turn; may be empty.
    pub words: &'a str,
    /// The words reach to the silence. If not, something was said after them, and their end says nothing.
    pub up_to_date: bool,
    /// What the words are in, as `en-US`; empty is English. Words of other languages are judged by their marks alone.
    pub language: &'a str,
    pub asked: Asked,
    /// How likely the turn is over by the voice alone, from 0 to 1; `None` when nobody has judged it.
    pub end_of_turn: Option<f32>,
}

/// How much silence ends the turn.
#[must_use]
pub fn silence_needed(config: &Config, said: &Said<'_>) -> Duration {
    let by_words = match ending(said) {
        Ending::Open => config.base,
        Ending::Complete => config.complete,
        Ending::Answered => config.answered,
        Ending::Trailing => config.trailing,
        Ending::Unfinished => config.unfinished,
        Ending::Thinking => config.thinking,
        Ending::Dictating => config.dictating,
    };
    let needed = match said.end_of_turn.filter(|probability| probability.is_finite()) {
        None => by_words,
        Some(probability) => {
            let by_voice = config.shortest.mul_f32(probability.clamp(0.0, 1.0))
                + config.longest.mul_f32(1.0 - probability.clamp(0.0, 1.0));
            let weight = config.probability_weight.clamp(0.0, 1.0);
            by_voice.mul_f32(weight) + by_words.mul_f32(1.0 - weight)
        }
    };
    needed.clamp(config.shortest, config.longest.max(config.shortest))
}

/// Whether a silence of `silence` ends the turn.
#[must_use]
pub fn is_over(config: &Config, said: &Said<'_>, silence: Duration) -> bool {
    silence >= silence_needed(config, said)
}

/// What the words end with; of old words nothing is known.
#[must_use]
pub fn ending(said: &Said<'_>) -> Ending {
    let is_english = said.language.is_empty()
        || said.language.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("en"));
    match said.up_to_date {
        false => Ending::Open,
        true if is_english => words::ending(said.words, said.asked),
        true => words::by_marks(said.words),
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
