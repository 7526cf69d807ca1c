//! The keyring: seals and opens what customers said. Not rebuildable from the log, and meant not to be: dropping a
//! customer's key is what erases the customer.
//!
//! The installation's secret key wraps a key per tenant, which wraps a key per customer. A tenant's key also seals the
//! tenant's own secrets; its id is the tenant's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aes_gcm::aead::{Aead, Generate, Nonce, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::{CustomerKeyId, EventId, Sealed, TenantId};
use hmac::{Hmac, Mac};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::database::{self, Database};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
/// Unwrapped keys held in memory, about 100 bytes each.
const CACHED_KEYS: usize = 20_000;
/// After an erasure, other processes may still read the customer's words for this long.
const CACHED_FOR: Duration = Duration::from_secs(60);

type Key = Arc<Zeroizing<[u8; KEY_LEN]>>;

/// A value was neither sealed nor opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("the keyring cannot be reached")]
    Unavailable(#[source] database::Error),
    /// The customer was erased: nothing can be sealed for them under this key any more.
    #[error("data key {key_id} was erased")]
    Erased { key_id: Uuid },
    /// The stored key or the value is not what was written, or the installation's secret key is another one.
    #[error("what is sealed under data key {key_id} cannot be opened")]
    Corrupt { key_id: Uuid },
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl From<database::Error> for KeyringError {
    fn from(error: database::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl From<sqlx::Error> for KeyringError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The secret key is not base64 of 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("the secret key must be base64 of {KEY_LEN} bytes")]
pub struct InvalidSecretKey;

/// Cheap to clone.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    database: Database,
    secret_key: Key,
    keys: Cache<(TenantId, Uuid), (Instant, Key)>,
    customers: Cache<(TenantId, [u8; 32]), (Instant, CustomerKeyId)>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// `secret_key` is `VOCALBRIDGE_SECRET_KEY`.
    ///
    /// # Errors
    /// When it is not base64 of 32 bytes.
    pub fn new(database: Database, secret_key: &SecretString) -> Result<Self, InvalidSecretKey> {
        let decoded =
            Zeroizing::new(STANDARD.decode(secret_key.expose_secret().trim()).map_err(|_| InvalidSecretKey)?);
        let secret_key = key_of(&decoded).ok_or(InvalidSecretKey)?;
        let (keys, customers) = (Cache::new(CACHED_KEYS), Cache::new(CACHED_KEYS));
        Ok(Self(Arc::new(Inner { database, secret_key, keys, customers })))
    }

    /// A key for `purpose` alone, the same in every process of the installation: HMAC-SHA256 under the secret key.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    pub fn derived_key(&self, purpose: &str) -> [u8; KEY_LEN] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0.secret_key[..]).expect("HMAC takes keys of every length");
        mac.update(b"vocalbridge derived key");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The data key of a customer, made at the first call. `customer_id` is the tenant's own name for the customer; it
    /// is kept as a keyed hash only.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn customer_key(
        &self,
        tenant_id: TenantId,
        customer_id: &str,
    ) -> Result<CustomerKeyId, KeyringError> {
        let tenant_key = self.tenant_key(tenant_id).await?;
        let hash = customer_hash(&tenant_key, customer_id);
        if let Some((since, key_id)) = self.0.customers.get(&(tenant_id, hash))
            && since.elapsed() < CACHED_FOR
        {
            return Ok(key_id);
        }
        let mut tx = self.0.database.tenant(tenant_id).await?;
        let found = match find_customer(&mut tx, tenant_id, &hash).await? {
            Some(key_id) => key_id,
            None => {
                let key_id = Uuid::now_v7();
                let key = new_key()?;
                sqlx::query!(
                    "insert into customer_keys (tenant_id, key_id, customer_id_hash, wrapped) values ($1, $2, $3, $4)
                     on conflict on constraint customer_keys_customer do nothing",
                    tenant_id.0,
                    key_id,
                    &hash[..],
                    encrypt(&tenant_key, key_id, &associated(key_id, tenant_id.0), &key[..])?,
                )
                .execute(&mut *tx)
                .await?;
                // Whoever was first, it is theirs that counts.
                find_customer(&mut tx, tenant_id, &hash).await?.ok_or(KeyringError::Erased { key_id })?
            }
        };
        tx.commit().await?;
        let key_id = CustomerKeyId(found);
        self.0.customers.insert((tenant_id, hash), (Instant::now(), key_id));
        Ok(key_id)
    }

    /// Seals `plain` for the event that will carry it. `key_id` is a customer's, or the tenant's own id.
    ///
    /// # Errors
    /// [`KeyringError::Erased`] when there is no such key; the others when it cannot be had.
    pub async fn seal(
        &self,
        tenant_id: TenantId,
        key_id: Uuid,
        event_id: EventId,
        plain: &str,
    ) -> Result<Sealed, KeyringError> {
        let sealed = self.seal_bytes(tenant_id, key_id, event_id.0, plain.as_bytes()).await?;
        Ok(Sealed { key_id, ciphertext: STANDARD.encode(sealed) })
    }

    /// As [`Keyring::seal`], for bytes that are not in an event: `place` says where they are, and opens them nowhere
    /// else.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub async fn seal_bytes(
        &self,
        tenant_id: TenantId,
        key_id: Uuid,
        place: Uuid,
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyringError> {
        let key = if key_id == tenant_id.0 {
            self.tenant_key(tenant_id).await?
        } else {
            self.data_key(tenant_id, key_id).await?.ok_or(KeyringError::Erased { key_id })?
        };
        encrypt(&key, key_id, &associated(key_id, place), plain)
    }

    /// Opens a value that was sealed for `event_id`. `None`: its key is gone, the customer was erased.
    ///
    /// # Errors
    /// When the database does not answer, or the value was not sealed here for this event.
    pub async fn open(
        &self,
        tenant_id: TenantId,
        event_id: EventId,
        sealed: &Sealed,
    ) -> Result<Option<String>, KeyringError> {
        let key_id = sealed.key_id;
        let corrupt = KeyringError::Corrupt { key_id };
        let Ok(bytes) = STANDARD.decode(&sealed.ciphertext) else { return Err(corrupt) };
        match self.open_bytes(tenant_id, key_id, event_id.0, &bytes).await? {
            Some(plain) => String::from_utf8(plain).map(Some).map_err(|_| corrupt),
            None => Ok(None),
        }
    }

    /// Opens what [`Keyring::seal_bytes`] sealed for `place`. `None`: its key is gone.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub async fn open_bytes(
        &self,
        tenant_id: TenantId,
        key_id: Uuid,
        place: Uuid,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, KeyringError> {
        let Some(key) = self.data_key(tenant_id, key_id).await? else { return Ok(None) };
        decrypt(&key, key_id, &associated(key_id, place), sealed).map(Some)
    }

    /// Drops a customer's key: all that was sealed under it is unreadable from now on, here at once, in other processes
    /// within a minute. `false`: there is no such customer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn erase_customer(&self, tenant_id: TenantId, customer_id: &str) -> Result<bool, KeyringError> {
        let hash = customer_hash(&self.tenant_key(tenant_id).await?, customer_id);
        let mut tx = self.0.database.tenant(tenant_id).await?;
        let erased = sqlx::query_scalar!(
            "delete from customer_keys where tenant_id = $1 and customer_id_hash = $2 returning key_id",
            tenant_id.0,
            &hash[..]
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        self.0.customers.remove(&(tenant_id, hash));
        if let Some(key_id) = erased {
            self.0.keys.remove(&(tenant_id, key_id));
        }
        Ok(erased.is_some())
    }

    /// The tenant's own key, made at the first call.
    async fn tenant_key(&self, tenant_id: TenantId) -> Result<Key, KeyringError> {
        if let Some(key) = self.data_key(tenant_id, tenant_id.0).await? {
            return Ok(key);
        }
        let key = new_key()?;
        let mut tx = self.0.database.tenant(tenant_id).await?;
        sqlx::query!(
            "insert into tenant_keys (tenant_id, wrapped) values ($1, $2)
             on conflict on constraint tenant_keys_pkey do nothing",
            tenant_id.0,
            encrypt(&self.0.secret_key, tenant_id.0, &associated(tenant_id.0, tenant_id.0), &key[..])?,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        // Whoever was first, it is theirs that counts.
        self.data_key(tenant_id, tenant_id.0).await?.ok_or(KeyringError::Erased { key_id: tenant_id.0 })
    }

    /// A customer's key or the tenant's own, unwrapped. `None` when there is none.
    async fn data_key(&self, tenant_id: TenantId, key_id: Uuid) -> Result<Option<Key>, KeyringError> {
        if let Some((since, key)) = self.0.keys.get(&(tenant_id, key_id))
            && since.elapsed() < CACHED_FOR
        {
            return Ok(Some(key));
        }
        let is_tenants = key_id == tenant_id.0;
        // The wrapping tenant key comes along, so that one round trip serves.
        let mut tx = self.0.database.tenant(tenant_id).await?;
        let row = sqlx::query!(
            "select tenant_keys.wrapped as tenants, customer_keys.wrapped as \"customers?\" from tenant_keys
             left join customer_keys on customer_keys.tenant_id = tenant_keys.tenant_id and customer_keys.key_id = $2
             where tenant_keys.tenant_id = $1",
            tenant_id.0,
            key_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let unwrap = |wrapping: &Key, key_id: Uuid, wrapped: &[u8]| {
            let plain = Zeroizing::new(decrypt(wrapping, key_id, &associated(key_id, tenant_id.0), wrapped)?);
            key_of(&plain).ok_or(KeyringError::Corrupt { key_id })
        };
        let tenants = unwrap(&self.0.secret_key, tenant_id.0, &row.tenants)?;
        let key = match (is_tenants, row.customers) {
            (true, _) => tenants,
            (false, Some(wrapped)) => unwrap(&tenants, key_id, &wrapped)?,
            (false, None) => return Ok(None),
        };
        self.0.keys.insert((tenant_id, key_id), (Instant::now(), key.clone()));
        Ok(Some(key))
    }
}

async fn find_customer(
    connection: &mut PgConnection,
    tenant_id: TenantId,
    hash: &[u8],
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select key_id from customer_keys where tenant_id = $1 and customer_id_hash = $2",
        tenant_id.0,
        hash
    )
    .fetch_optional(connection)
    .await
}

fn key_of(bytes: &[u8]) -> Option<Key> {
    Some(Arc::new(Zeroizing::new(bytes.try_into().ok()?)))
}

fn new_key() -> Result<Key, KeyringError> {
    <[u8; KEY_LEN]>::try_generate()
        .map(|key| Arc::new(Zeroizing::new(key)))
        .map_err(|_| KeyringError::NoRandomness)
}

/// A random nonce, then the ciphertext and its tag.
fn encrypt(key: &Key, key_id: Uuid, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let nonce = Nonce::<Aes256Gcm>::try_generate().map_err(|_| KeyringError::NoRandomness)?;
    let sealed = cipher(key)
        .encrypt(&nonce, Payload { msg: plain, aad: associated })
        .map_err(|_| KeyringError::Corrupt { key_id })?;
    Ok([&nonce[..], &sealed].concat())
}

fn decrypt(key: &Key, key_id: Uuid, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let corrupt = KeyringError::Corrupt { key_id };
    let Some((nonce, sealed)) = sealed.split_at_checked(NONCE_LEN) else { return Err(corrupt) };
    let Ok(nonce) = Nonce::<Aes256Gcm>::try_from(nonce) else { return Err(corrupt) };
    cipher(key).decrypt(&nonce, Payload { msg: sealed, aad: associated }).map_err(|_| corrupt)
}

/// Made anew each time: the key schedule takes a fraction of a microsecond, and kept it would be twenty times a key.
fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new((&***key).into())
}

/// Binds a ciphertext to its key and to the event, or tenant, that it was made for.
fn associated(key_id: Uuid, owner: Uuid) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(key_id.as_bytes());
    bytes[16..].copy_from_slice(owner.as_bytes());
    bytes
}

/// SHA-256 over the tenant's secret key and the customer's name: nobody without the key can try names out.
fn customer_hash(tenant_key: &Key, customer_id: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"vocalbridge customer id");
    hash.update(&tenant_key[..]);
    hash.update(customer_id.as_bytes());
    hash.finalize().into()
}
