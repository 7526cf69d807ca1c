//! The headers that tenants set for their own servers.

use std::collections::BTreeMap;

use events::TenantId;
use events::function::SecretHeader;
use projections::Keyring;
use projections::keyring::KeyringError;
use secrecy::SecretString;

/// The headers with their values; `None` when one cannot be opened because its key is gone.
pub(crate) async fn opened(
    keyring: &Keyring,
    tenant_id: TenantId,
    sealed: &BTreeMap<String, SecretHeader>,
) -> Result<Option<Vec<(String, SecretString)>>, KeyringError> {
    let mut headers = Vec::with_capacity(sealed.len());
    for (name, header) in sealed {
        let Some(value) = keyring.open(tenant_id, header.sealed_for, &header.value).await? else {
            return Ok(None);
        };
        headers.push((name.clone(), value.into()));
    }
    Ok(Some(headers))
}
