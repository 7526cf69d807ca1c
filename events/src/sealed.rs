//! Customers' words, numbers and secrets as they stand in the log: ciphertext only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A value encrypted under a data key of the keyring. Dropping the key makes the value unreadable everywhere it was
/// copied to, while the log, its proofs and every table stay byte for byte as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sealed {
    /// The data key: a customer's, or the tenant's own for the tenant's secrets.
    pub key_id: Uuid,
    /// Base64 of a 12-byte nonce followed by the AES-256-GCM ciphertext and tag. The associated data are the bytes of
    /// the key's id and of the event's id that carries the value, so a value cannot be moved to another event.
    pub ciphertext: String,
}
