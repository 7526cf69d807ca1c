//! The endings that English puts to its words, as they sound behind a stem.

/// Plurals, third persons and possessives: cats, dogs, boxes.
pub(super) fn with_s(stem: &str) -> String {
    let ending = match stem.chars().last() {
        Some('p' | 't' | 'k' | 'f' | 'θ') => "s",
        Some('s' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ') => "ᵻz",
        _ => "z",
    };
    format!("{stem}{ending}")
}

/// The past: walked, played, waited.
pub(super) fn with_ed(stem: &str) -> String {
    match stem.chars().last() {
        Some('p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ') => format!("{stem}t"),
        Some('d') => format!("{stem}ᵻd"),
        Some('t') => format!("{}ᵻd", flapped(stem)),
        _ => format!("{stem}d"),
    }
}

/// Walking, waiting.
pub(super) fn with_ing(stem: &str) -> String {
    format!("{}ɪŋ", flapped(stem))
}

/// Americans say a `t` between vowels with a flap of the tongue.
fn flapped(stem: &str) -> String {
    let before =
        stem.strip_suffix('t').filter(|before| before.ends_with(|it| "AIOWYiuæɑəɛɪɹʊʌ".contains(it)));
    before.map_or_else(|| stem.to_owned(), |before| format!("{before}ɾ"))
}

/// What a word may be without its ending, likeliest first.
pub(super) fn stems_of_s(word: &str) -> Vec<String> {
    let mut stems = Vec::new();
    if let Some(stem) = word.strip_suffix("'s").or_else(|| word.strip_suffix("s'")) {
        stems.push(stem.to_owned());
    } else if let Some(stem) = word.strip_suffix('s').filter(|stem| stem.len() > 1 && !stem.ends_with('s')) {
        stems.push(stem.to_owned());
        stems.extend(stem.strip_suffix("ie").filter(|stem| stem.len() > 1).map(|stem| format!("{stem}y")));
        stems.extend(stem.strip_suffix('e').filter(|stem| stem.len() > 2).map(str::to_owned));
    }
    stems
}

pub(super) fn stems_of_ed(word: &str) -> Vec<String> {
    let Some(stem) = word.strip_suffix('d').filter(|stem| stem.len() > 2 && stem.ends_with('e')) else {
        return Vec::new();
    };
    let short = &stem[..stem.len() - 1];
    let with_y = short.strip_suffix('i').map(|stem| format!("{stem}y"));
    [stem.to_owned(), short.to_owned()].into_iter().chain(with_y).chain(undoubled(short)).collect()
}

pub(super) fn stems_of_ing(word: &str) -> Vec<String> {
    let Some(stem) = word.strip_suffix("ing").filter(|stem| stem.len() > 1) else { return Vec::new() };
    [stem.to_owned(), format!("{stem}e")].into_iter().chain(undoubled(stem)).collect()
}

/// Stopp as stop, panick as panic.
fn undoubled(stem: &str) -> Option<String> {
    let mut ending = stem.chars().rev();
    let (last, before) = (ending.next()?, ending.next()?);
    let doubled = last == before && !"aeiouy".contains(last);
    (doubled || (last == 'k' && before == 'c')).then(|| stem[..stem.len() - last.len_utf8()].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_sound_as_their_stem_wants() {
        assert_eq!(["kˈæt", "dˈɔɡ", "bˈɑks"].map(with_s), ["kˈæts", "dˈɔɡz", "bˈɑksᵻz"]);
        assert_eq!(
            ["wˈɔk", "plˈA", "wˈAt", "nˈid", "ˈækt"].map(with_ed),
            ["wˈɔkt", "plˈAd", "wˈAɾᵻd", "nˈidᵻd", "ˈæktᵻd"]
        );
        assert_eq!(["wˈɔk", "wˈAt"].map(with_ing), ["wˈɔkɪŋ", "wˈAɾɪŋ"]);
    }

    #[test]
    fn words_are_taken_apart() {
        assert_eq!(stems_of_s("cities"), ["citie", "city", "citi"]);
        assert_eq!(stems_of_s("Anna's"), ["Anna"]);
        assert_eq!(stems_of_s("boss"), [""; 0]);
        assert_eq!(stems_of_ed("stopped"), ["stoppe", "stopp", "stop"]);
        assert_eq!(stems_of_ed("tried"), ["trie", "tri", "try"]);
        assert_eq!(stems_of_ing("making"), ["mak", "make"]);
        assert_eq!(stems_of_ing("panicking"), ["panick", "panicke", "panic"]);
        assert_eq!(stems_of_ing("ing"), [""; 0]);
    }
}
