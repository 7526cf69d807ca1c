//! Words that open one door once: signed by this installation, valid for a short while, used up by the first who shows
//! them. They are what a browser and a carrier's stream carry, for neither can send an API key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use nats::once::{Claim, OnceError};
use projections::Keyring;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::App;

/// How long a token is good for.
const LIFETIME: TimeDelta = TimeDelta::seconds(60);
/// Longer texts are no tokens.
const MAX_LEN: usize = 1_024;

/// What a token says. Tokens of one purpose are nothing for another.
pub(crate) trait Claims: Serialize + DeserializeOwned {
    const PURPOSE: &'static str;
}

/// A token that opens nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// It was not made here, or for something else.
    #[error("it is not one of ours")]
    Forged,
    #[error("it has expired")]
    Expired,
    #[error("it was used before")]
    Used,
    #[error("cannot tell whether it was used before")]
    Unavailable(#[from] OnceError),
}

#[derive(Serialize, Deserialize)]
struct Signed<T> {
    id: Uuid,
    /// Unix seconds.
    expires_at: i64,
    claims: T,
}

/// Makes tokens and takes them.
pub(crate) struct Tokens {
    key: [u8; 32],
}

impl Tokens {
    pub(crate) fn new(keyring: &Keyring) -> Self {
        Self { key: keyring.derived_key("tokens") }
    }

    /// A token made at `at`, and when it expires. The same `id` is the same token: it opens once.
    #[expect(clippy::expect_used, reason = "claims are plain structs")]
    pub(crate) fn issue<T: Claims>(&self, id: Uuid, at: DateTime<Utc>, claims: T) -> (String, DateTime<Utc>) {
        let expires_at = at + LIFETIME;
        let signed = Signed { id, expires_at: expires_at.timestamp(), claims };
        let json = serde_json::to_vec(&signed).expect("claims are plain structs");
        let payload = URL_SAFE_NO_PAD.encode(json);
        let mac = URL_SAFE_NO_PAD.encode(self.mac::<T>(&payload).finalize().into_bytes());
        (format!("{payload}.{mac}"), expires_at)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn mac<T: Claims>(&self, payload: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of every length");
        mac.update(T::PURPOSE.as_bytes());
        mac.update(&[0]);
        mac.update(payload.as_bytes());
        mac
    }

    fn read<T: Claims>(&self, text: &str, now: DateTime<Utc>) -> Result<Signed<T>, TokenError> {
        let (payload, mac) =
            text.split_once('.').filter(|_| text.len() <= MAX_LEN).ok_or(TokenError::Forged)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| TokenError::Forged)?;
        self.mac::<T>(payload).verify_slice(&mac).map_err(|_| TokenError::Forged)?;
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Forged)?;
        let signed: Signed<T> = serde_json::from_slice(&json).map_err(|_| TokenError::Forged)?;
        if signed.expires_at <= now.timestamp() { Err(TokenError::Expired) } else { Ok(signed) }
    }
}

/// Takes a token, and uses it up.
///
/// # Errors
/// When it opens nothing (any more).
pub(crate) async fn redeem<T: Claims>(app: &App, text: &str) -> Result<T, TokenError> {
    let signed = app.tokens.read::<T>(text, app.clock.now())?;
    let key = format!("token.{}", signed.id.as_simple());
    match app.nats.idempotency.claim(&key, Bytes::new()).await? {
        Claim::Ours => Ok(signed.claims),
        Claim::Taken(_) => Err(TokenError::Used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Door(u32);
    impl Claims for Door {
        const PURPOSE: &'static str = "door";
    }

    #[derive(Serialize, Deserialize)]
    struct Gate(u32);
    impl Claims for Gate {
        const PURPOSE: &'static str = "gate";
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000, 0).unwrap()
    }

    #[test]
    fn a_token_opens_its_own_door_for_a_minute() {
        let tokens = Tokens { key: [7; 32] };
        let (text, expires_at) = tokens.issue(Uuid::nil(), now(), Door(5));
        assert_eq!(expires_at, now() + TimeDelta::seconds(60));
        assert_eq!(tokens.read::<Door>(&text, now() + TimeDelta::seconds(59)).unwrap().claims, Door(5));
        let late = tokens.read::<Door>(&text, now() + TimeDelta::seconds(60));
        assert!(matches!(late, Err(TokenError::Expired)));
        assert!(matches!(tokens.read::<Gate>(&text, now()), Err(TokenError::Forged)));
        let other = Tokens { key: [8; 32] };
        assert!(matches!(other.read::<Door>(&text, now()), Err(TokenError::Forged)));
    }

    #[test]
    fn no_changed_token_is_taken() {
        let tokens = Tokens { key: [7; 32] };
        let (text, _) = tokens.issue(Uuid::nil(), now(), Door(5));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(matches!(tokens.read::<Door>(&changed, now()), Err(TokenError::Forged)), "{changed}");
        }
        for wrong in ["", ".", "a", "a.b", &text[..text.len() - 1], &text.repeat(20)] {
            assert!(matches!(tokens.read::<Door>(wrong, now()), Err(TokenError::Forged)), "{wrong}");
        }
    }
}
