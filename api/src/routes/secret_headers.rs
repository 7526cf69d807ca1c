//! Headers that tenants set for requests to their own servers: checked, merged, sealed, and shown with masks.

use std::collections::BTreeMap;

use events::function::SecretHeader;
use events::{EventId, TenantId};
use vendors::functions::{RESERVED_HEADERS, is_header};

use crate::App;
use crate::problem::Problem;
use crate::routes::merge::Sent;
use crate::validation::Mistakes;

/// As a client sends them: `null` for a value takes the header away.
pub(crate) type SentHeaders = Sent<BTreeMap<String, Option<String>>>;
/// As they stand in events.
pub(crate) type SealedHeaders = BTreeMap<String, SecretHeader>;

const MAX_HEADERS: usize = 20;
const MAX_HEADER_NAME_BYTES: usize = 128;
const MAX_HEADER_VALUE_BYTES: usize = 4_096;
/// Characters at the end of a secret that may be seen, of one that is at least so long.
const SHOWN_CHARS: usize = 4;
const SHOWN_FROM_CHARS: usize = 16;
const MASK: &str = "••••";

fn each(sent: &SentHeaders) -> impl Iterator<Item = (&String, &Option<String>)> {
    sent.iter().flatten().flatten()
}

/// Those of `base` that were neither sent anew nor taken away.
pub(crate) fn staying(sent: &SentHeaders, base: &SealedHeaders) -> SealedHeaders {
    if *sent == Some(None) {
        return SealedHeaders::new();
    }
    let stays = |name: &str| !each(sent).any(|(sent, _)| sent.eq_ignore_ascii_case(name));
    let staying = base.iter().filter(|(name, _)| stays(name));
    staying.map(|(name, header)| (name.clone(), header.clone())).collect()
}

/// The headers that were sent with a value, sealed for the event that will carry them first.
///
/// # Errors
/// When the keyring is not to be had.
pub(crate) async fn sealed(
    app: &App,
    tenant_id: TenantId,
    sealed_for: EventId,
    sent: &SentHeaders,
) -> Result<SealedHeaders, Problem> {
    let mut sealed = SealedHeaders::new();
    for (name, value) in each(sent) {
        if let Some(value) = value {
            let value = app.keyring.seal(tenant_id, tenant_id.0, sealed_for, value).await?;
            sealed.insert(name.clone(), SecretHeader { value, sealed_for });
        }
    }
    Ok(sealed)
}

/// What may be seen of headers.
///
/// # Errors
/// When the keyring is not to be had.
pub(crate) async fn shown(
    app: &App,
    tenant_id: TenantId,
    sealed: SealedHeaders,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut shown = BTreeMap::new();
    for (name, header) in sealed {
        let value = app.keyring.open(tenant_id, header.sealed_for, &header.value).await?;
        shown.insert(name, masked(value.as_deref().unwrap_or_default()));
    }
    Ok(shown)
}

/// Checks what was sent, beside `staying` others. `reserved` are names that cannot be set besides those that nobody can.
pub(crate) fn check(sent: &SentHeaders, staying: usize, reserved: &[&str], mistakes: &mut Mistakes) {
    let sent: Vec<_> = each(sent).collect();
    if staying + sent.iter().filter(|(_, value)| value.is_some()).count() > MAX_HEADERS {
        mistakes.add("headers", format_args!("must have at most {MAX_HEADERS} entries"));
        return;
    }
    for (index, (name, value)) in sent.iter().enumerate() {
        let field = format!("headers.{name}");
        let lower = name.to_ascii_lowercase();
        if name.len() > MAX_HEADER_NAME_BYTES || !is_header(name, "") {
            mistakes.add("headers", format_args!("{name:?} is no name of a header"));
        } else if RESERVED_HEADERS.contains(&lower.as_str()) || reserved.contains(&lower.as_str()) {
            mistakes.add(&field, "is set by VocalBridge or belongs to the connection");
        } else if sent[..index].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            mistakes.add(&field, "is named twice");
        } else if let Some(value) = value {
            check_value(&field, value, mistakes);
        }
    }
}

fn check_value(field: &str, value: &str, mistakes: &mut Mistakes) {
    if value.starts_with(MASK) {
        mistakes.add(field, "is masked: send the whole value, or leave the header out of a PATCH to keep it");
    } else if value.is_empty() || value.len() > MAX_HEADER_VALUE_BYTES {
        mistakes.add(field, format_args!("must have 1 to {MAX_HEADER_VALUE_BYTES} characters"));
    } else if value.trim() != value || !is_header("x", value) {
        mistakes.add(field, "must be of visible ASCII characters, with blanks between them at most");
    }
}

/// What may be seen of a secret.
pub(crate) fn masked(secret: &str) -> String {
    let length = secret.chars().count();
    let shown = if length < SHOWN_FROM_CHARS { 0 } else { SHOWN_CHARS };
    secret.chars().skip(length - shown).fold(MASK.to_owned(), |mut masked, character| {
        masked.push(character);
        masked
    })
}
