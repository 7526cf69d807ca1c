//! What an API key looks like: `vb_<environment>_<public id>_<secret>`. Only its hash is ever kept.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A freshly issued key. Shown once, to whoever asked for it.
pub struct NewKey {
    pub text: String,
    /// The part that may be shown later.
    pub prefix: String,
    /// Lower-case hex SHA-256 of the whole key.
    pub hash: String,
}

/// Longer texts are not looked up.
const MAX_LEN: usize = 200;
const PUBLIC_ID_LEN: usize = 12;

impl NewKey {
    /// Builds the key of `environment` from 32 secret random bytes; the same bytes give the same key.
    pub fn from_secret(environment: &str, secret: &[u8; 32]) -> Self {
        let public_id = hex(&digest_of(b"vocalbridge api key id", secret))[..PUBLIC_ID_LEN].to_owned();
        let prefix = format!("vb_{environment}_{public_id}");
        let text = format!("{prefix}_{}", hex(&digest_of(b"vocalbridge api key", secret)));
        let hash = Self::hash_of(&text);
        Self { text, prefix, hash }
    }

    /// What is kept of a key: lower-case hex SHA-256.
    pub fn hash_of(text: &str) -> String {
        hex(&digest(text))
    }
}

/// The part of a key that may be shown; `None`: the text can be no key.
pub(crate) fn prefix_of(text: &str) -> Option<&str> {
    let is_plausible = text.len() <= MAX_LEN
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.starts_with("vb_")
        && text.split('_').count() >= 4;
    text.rsplit_once('_').filter(|_| is_plausible).map(|(prefix, _)| prefix)
}

/// SHA-256.
pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Independent values from one secret, by label.
pub(crate) fn digest_of(label: &[u8], secret: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update([0]).chain_update(secret).finalize().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_where_it_belongs_and_hides_its_secret() {
        let key = NewKey::from_secret("dev", &[7; 32]);
        assert_eq!(prefix_of(&key.text), Some(&*key.prefix));
        assert!(key.text.starts_with(&key.prefix) && key.prefix.starts_with("vb_dev_"));
        assert_eq!(key.text.split('_').count(), 4);
        assert_eq!(key.hash, NewKey::hash_of(&key.text));
        assert_eq!(key.hash.len(), 64);
    }

    #[test]
    fn different_secrets_give_different_keys() {
        assert_ne!(NewKey::from_secret("dev", &[7; 32]).text, NewKey::from_secret("dev", &[8; 32]).text);
    }

    #[test]
    fn other_peoples_keys_are_not_looked_up() {
        for other in ["", "sk-abc", "vb_dev_only", "vb_dév_a_b", "vb_dev_a_\0b"] {
            assert_eq!(prefix_of(other), None, "{other}");
        }
        assert_eq!(prefix_of(&format!("vb_dev_a_{}", "x".repeat(MAX_LEN))), None);
    }
}
