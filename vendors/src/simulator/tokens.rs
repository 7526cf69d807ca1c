//! The simulated vendors' count of tokens.

/// Tokens of one text: its characters divided by four, rounded up. An empty text has none.
pub fn count_tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::count_tokens;

    #[test]
    fn four_characters_are_one_token() {
        let counts = ["", "a", "abcd", "abcde", "äöüß€"].map(count_tokens);
        assert_eq!(counts, [0, 1, 1, 2, 2]);
    }
}
