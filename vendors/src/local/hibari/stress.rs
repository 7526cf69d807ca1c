//! Where the voice rises: `ˈ` before the vowel of the main stress, `ˌ` of a lesser one.

pub(super) const PRIMARY: char = 'ˈ';
pub(super) const SECONDARY: char = 'ˌ';

/// How much a word is stressed beyond what the lexicon says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emphasis {
    /// As the lexicon has it.
    Plain,
    /// Names and first words: never without any stress.
    Some,
    /// WORDS IN CAPITALS: never without the main stress.
    Full,
}

pub(super) fn is_vowel(phoneme: char) -> bool {
    "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ".contains(phoneme)
}

pub(super) fn is_consonant(phoneme: char) -> bool {
    "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ".contains(phoneme)
}

pub(super) fn emphasised(phonemes: &str, emphasis: Emphasis) -> String {
    let is_stressed = phonemes.contains([PRIMARY, SECONDARY]);
    match emphasis {
        Emphasis::Some if !is_stressed => stressed(phonemes, SECONDARY),
        Emphasis::Full if !is_stressed => stressed(phonemes, PRIMARY),
        Emphasis::Full if !phonemes.contains(PRIMARY) => phonemes.replace(SECONDARY, "ˈ"),
        Emphasis::Plain | Emphasis::Some | Emphasis::Full => phonemes.to_owned(),
    }
}

/// Letters that are said one by one: the last has the main stress.
pub(super) fn spelled(letters: &[&str]) -> String {
    let last = letters.len().saturating_sub(1);
    let letter = |(at, phonemes): (usize, &&str)| {
        let bare: String = phonemes.chars().filter(|it| ![PRIMARY, SECONDARY].contains(it)).collect();
        stressed(&bare, if at == last { PRIMARY } else { SECONDARY })
    };
    letters.iter().enumerate().map(letter).collect()
}

/// With the mark before the first vowel.
fn stressed(phonemes: &str, mark: char) -> String {
    match phonemes.find(is_vowel) {
        Some(vowel) => format!("{}{mark}{}", &phonemes[..vowel], &phonemes[vowel..]),
        None => phonemes.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emphasis_adds_stress_and_never_takes_it() {
        let words =
            [("ænd", "ˌænd", "ˈænd"), ("wˌɪð", "wˌɪð", "wˈɪð"), ("bˈɪɡ", "bˈɪɡ", "bˈɪɡ"), ("m", "m", "m")];
        for (word, some, full) in words {
            assert_eq!(emphasised(word, Emphasis::Plain), word);
            assert_eq!(emphasised(word, Emphasis::Some), some);
            assert_eq!(emphasised(word, Emphasis::Full), full);
        }
    }

    #[test]
    fn the_last_letter_is_stressed() {
        assert_eq!(spelled(&["ˈI", "ˈɛn", "vˈi"]), "ˌIˌɛnvˈi");
    }
}
