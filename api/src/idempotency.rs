//! `Idempotency-Key`: the same key and body give the first answer again.
//!
//! No answer is kept. A claim in the bucket fixes, before anything is appended, everything that is not in the body:
//! the seed of all ids, the time, and the sealed bytes that secrets are made of. From these a repeated request builds
//! the very same events; the log recognises them by id, and the answer is always read from what stands in the log. So
//! a crash between claim and append, two requests racing, and a retry a day later are all the same case, nothing of a
//! customer's words lies in the bucket, and an erased person is erased from replays too.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use events::{EventId, Sealed, TenantId};
use nats::once::Claim;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::{Code, Problem};
use crate::{App, api_key};

pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY_LEN: usize = 255;

/// What one request is made of besides its body; the same for every repetition of it.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    seed: Uuid,
    /// When the first of the repetitions came.
    pub at: DateTime<Utc>,
    /// For secrets that are shown once; random bytes, zeros when the request makes none.
    pub secret: [u8; 32],
    /// Somebody sent this before.
    pub replayed: bool,
}

/// Whether the request makes something secret, whose bytes must be kept (sealed) with the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Makes {
    NoSecret,
    Secret,
}

/// What identifies a request: who sends what where.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    /// The system tenant for the operator.
    pub tenant_id: TenantId,
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// What lies in the bucket.
#[derive(Serialize, Deserialize)]
struct Claimed {
    fingerprint: String,
    seed: Uuid,
    at: DateTime<Utc>,
    secret: Option<Sealed>,
}

impl Once {
    /// Claims the request's key, or finds what was claimed; a request without a key is always new.
    pub(crate) async fn claim(app: &App, sent: Sent<'_>, makes: Makes) -> Result<Self, Problem> {
        let secret = match makes {
            Makes::NoSecret => [0; 32],
            Makes::Secret => random_secret(),
        };
        let fresh = Self { secret, ..Self::now(app) };
        let Some(key) = key_of(sent.headers)? else { return Ok(fresh) };
        let secret = match makes {
            Makes::NoSecret => None,
            Makes::Secret => Some(seal(app, sent.tenant_id, fresh.seed, &fresh.secret).await?),
        };
        let fingerprint = fingerprint(sent.uri, sent.body);
        let claimed = Claimed { fingerprint, seed: fresh.seed, at: fresh.at, secret };
        let value = Bytes::from(serde_json::to_vec(&claimed).map_err(|error| Problem::internal(&error))?);
        match app.nats.idempotency.claim(&bucket_key(&sent, &key), value).await? {
            Claim::Ours => Ok(fresh),
            Claim::Taken(taken) => Self::of(app, sent, &taken).await,
        }
    }

    /// What was claimed for the same request before; `None`: nothing, or it has no key. For a request that is checked
    /// against things that may have changed since: one that is refused for the first time leaves its key free.
    pub(crate) async fn find(app: &App, sent: Sent<'_>) -> Result<Option<Self>, Problem> {
        let Some(key) = key_of(sent.headers)? else { return Ok(None) };
        match app.nats.idempotency.get(&bucket_key(&sent, &key)).await? {
            Some(taken) => Self::of(app, sent, &taken).await.map(Some),
            None => Ok(None),
        }
    }

    async fn of(app: &App, sent: Sent<'_>, taken: &[u8]) -> Result<Self, Problem> {
        let first: Claimed = serde_json::from_slice(taken).map_err(|error| Problem::internal(&error))?;
        if first.fingerprint != fingerprint(sent.uri, sent.body) {
            return Err(Problem::new(Code::IdempotencyKeyReused, "use a new key for a new request"));
        }
        let secret = match &first.secret {
            None => [0; 32],
            Some(sealed) => open(app, sent.tenant_id, first.seed, sealed).await?,
        };
        Ok(Self { seed: first.seed, at: first.at, secret, replayed: true })
    }

    /// Of a request that cannot be repeated: a GET that makes something, such as a question to somebody else.
    pub(crate) fn now(app: &App) -> Self {
        Self { seed: Uuid::now_v7(), at: app.clock.now(), secret: [0; 32], replayed: false }
    }

    /// The id of the thing that the request makes.
    pub(crate) fn id<T: From<Uuid>>(&self) -> T {
        self.seed.into()
    }

    /// Further ids, one per `label`: UUIDv7 of the seed's time, so that they sort as they were made.
    pub(crate) fn derived<T: From<Uuid>>(&self, label: &str) -> T {
        let digest = Sha256::new().chain_update(self.seed.as_bytes()).chain_update(label).finalize();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.seed.as_bytes()[..6]);
        bytes[6..].copy_from_slice(&digest[..10]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Uuid::from_bytes(bytes).into()
    }

    /// Marks the answer when it is one that was given before.
    pub(crate) fn mark(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        if self.replayed {
            response.headers_mut().insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
        }
        response
    }
}

/// The client's key, bare or as a quoted string (RFC 8941); `None` when there is none.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(sent) = headers.get(KEY_HEADER) else { return Ok(None) };
    let invalid = || {
        Problem::new(
            Code::InvalidIdempotencyKey,
            format_args!("1 to {MAX_KEY_LEN} visible ASCII characters are allowed"),
        )
    };
    let sent = sent.to_str().map_err(|_| invalid())?.trim();
    let key = match sent.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').ok_or_else(invalid)?,
        None => sent,
    };
    let fits = (1..=MAX_KEY_LEN).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Some(key.to_owned())) } else { Err(invalid()) }
}

fn bucket_key(sent: &Sent<'_>, key: &str) -> String {
    let digest = Sha256::new()
        .chain_update(sent.method.as_str())
        .chain_update([0])
        .chain_update(sent.uri.path())
        .chain_update([0])
        .chain_update(key)
        .finalize();
    format!("{}.{}", sent.tenant_id.token(), api_key::hex(&digest))
}

/// SHA-256 of query and body as they were sent.
fn fingerprint(uri: &Uri, body: &[u8]) -> String {
    let query = uri.query().unwrap_or_default();
    api_key::hex(&Sha256::new().chain_update(query).chain_update([0]).chain_update(body).finalize())
}

#[expect(
    clippy::disallowed_methods,
    reason = "secrets come from the thread's own generator, which nobody can foretell"
)]
fn random_secret() -> [u8; 32] {
    rand::random()
}

async fn seal(app: &App, tenant_id: TenantId, seed: Uuid, secret: &[u8; 32]) -> Result<Sealed, Problem> {
    Ok(app.keyring.seal(tenant_id, tenant_id.0, EventId(seed), &api_key::hex(secret)).await?)
}

async fn open(app: &App, tenant_id: TenantId, seed: Uuid, sealed: &Sealed) -> Result<[u8; 32], Problem> {
    let gone = || Problem::new(Code::CustomerErased, "the first answer was erased");
    let text = app.keyring.open(tenant_id, EventId(seed), sealed).await?.ok_or_else(gone)?;
    let mut secret = [0; 32];
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|error| Problem::internal(&error))?;
        *byte = u8::from_str_radix(digits, 16).map_err(|error| Problem::internal(&error))?;
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(key: &str) -> HeaderMap {
        HeaderMap::from_iter([(KEY_HEADER, key.parse().unwrap())])
    }

    #[test]
    fn a_key_comes_bare_or_quoted() {
        assert_eq!(key_of(&headers("order-17")).unwrap().as_deref(), Some("order-17"));
        assert_eq!(key_of(&headers("\"order-17\"")).unwrap().as_deref(), Some("order-17"));
        assert_eq!(key_of(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused() {
        for wrong in ["", "\"\"", "\"half", "two words", &"x".repeat(256)] {
            assert_eq!(key_of(&headers(wrong)).unwrap_err().code(), Code::InvalidIdempotencyKey, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_its_senders_and_its_routes_own() {
        let none = HeaderMap::new();
        let (a, b) = (Uri::from_static("/a"), Uri::from_static("/b"));
        let sent = |tenant_id, uri| Sent { tenant_id, method: &Method::POST, uri, headers: &none, body: b"" };
        let (one, two) = (TenantId::new(), TenantId::new());
        assert_ne!(bucket_key(&sent(one, &a), "k"), bucket_key(&sent(two, &a), "k"));
        assert_ne!(bucket_key(&sent(one, &a), "k"), bucket_key(&sent(one, &b), "k"));
        assert_eq!(bucket_key(&sent(one, &a), "k"), bucket_key(&sent(one, &a), "k"));
        let key = bucket_key(&sent(TenantId::SYSTEM, &a), "* > .");
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{key}");
    }

    #[test]
    fn the_fingerprint_is_of_the_bytes_and_the_query() {
        let (plain, asked) = (Uri::from_static("/a"), Uri::from_static("/a?b=c"));
        assert_eq!(fingerprint(&plain, b"{}"), fingerprint(&plain, b"{}"));
        assert_ne!(fingerprint(&plain, b"{}"), fingerprint(&plain, b"{ }"));
        assert_ne!(fingerprint(&plain, b"{}"), fingerprint(&asked, b"{}"));
    }

    #[test]
    fn derived_ids_are_uuid_v7_of_the_seeds_time_and_repeat() {
        let once =
            Once { seed: Uuid::now_v7(), at: DateTime::<Utc>::MIN_UTC, secret: [0; 32], replayed: false };
        let derived: Uuid = once.derived("job");
        assert_eq!(derived.get_version_num(), 7);
        assert_eq!(derived.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(derived.as_bytes()[..6], once.seed.as_bytes()[..6]);
        assert_eq!(derived, once.derived::<Uuid>("job"));
        assert_ne!(derived, once.derived::<Uuid>("message"));
    }
}
