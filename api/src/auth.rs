//! Who calls, and whether they may. A handler says in its signature what it needs: [`Viewer`], [`Developer`],
//! [`Admin`] or [`Operator`].

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use events::tenant::Role;
use events::{Cause, TenantId};
use projections::configuration;
use subtle::ConstantTimeEq;

use crate::problem::{Code, Problem};
use crate::trace::Trace;
use crate::{App, api_key};

/// A tenant's key at work.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub tenant_id: TenantId,
    pub role: Role,
    pub actor: String,
    pub trace: Arc<Trace>,
}

impl Caller {
    /// Of everything that this request makes happen.
    pub(crate) fn cause(&self) -> Cause {
        Cause { origin: self.trace.origin(self.actor.clone()), causation_id: None }
    }
}

/// May read.
pub(crate) struct Viewer(pub Caller);
/// May also change agents and talk to them.
pub(crate) struct Developer(pub Caller);
/// May also change the tenant's own settings and keys.
pub(crate) struct Admin(pub Caller);

/// The installation's operator; belongs to no tenant.
pub(crate) struct Operator {
    trace: Arc<Trace>,
}

impl Operator {
    pub(crate) fn cause(&self) -> Cause {
        Cause { origin: self.trace.origin("operator".to_owned()), causation_id: None }
    }
}

/// Either may read what is asked for; how much of it is the handler's to say.
pub(crate) enum OperatorOrViewer {
    Operator,
    Viewer(Caller),
}

impl FromRequestParts<App> for OperatorOrViewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let trace = trace_of(parts);
        let key = sent_key(&parts.headers)?;
        if is_operator(app, &api_key::digest(key)) {
            return Ok(Self::Operator);
        }
        caller(app, trace, key, Role::Viewer).await.map(Self::Viewer)
    }
}

macro_rules! role_extractors {
    ($($role:ident;)*) => {$(
        impl FromRequestParts<App> for $role {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                let trace = trace_of(parts);
                let key = sent_key(&parts.headers)?;
                caller(app, trace, key, Role::$role).await.map(Self)
            }
        }
    )*};
}

role_extractors! {
    Viewer;
    Developer;
    Admin;
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let trace = trace_of(parts);
        let key = sent_key(&parts.headers)?;
        if is_operator(app, &api_key::digest(key)) {
            return Ok(Self { trace });
        }
        // A tenant's valid key learns that it may not; any other learns that it is none.
        caller(app, trace, key, Role::Viewer).await?;
        Err(Problem::new(Code::Forbidden, "this needs the operator's key"))
    }
}

/// The edge puts it there before anything else runs.
pub(crate) fn trace_of(parts: &Parts) -> Arc<Trace> {
    parts.extensions.get::<Arc<Trace>>().cloned().unwrap_or_else(|| Arc::new(Trace::of(&parts.headers)))
}

fn sent_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || Problem::new(Code::MissingApiKey, "send X-API-Key or Authorization: Bearer");
    let readable = |value: &'_ header::HeaderValue| value.to_str().is_ok();
    if let Some(key) = headers.get("x-api-key").filter(|value| readable(value)) {
        return key.to_str().map_err(|_| missing());
    }
    let sent =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    match sent.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(key.trim()),
        _ => Err(missing()),
    }
}

/// Compared by their digests: in constant time, and whatever the lengths.
fn is_operator(app: &App, digest: &[u8; 32]) -> bool {
    digest.ct_eq(&app.operator_digest).into()
}

async fn caller(app: &App, trace: Arc<Trace>, key: &str, needed: Role) -> Result<Caller, Problem> {
    let invalid = || Problem::new(Code::InvalidApiKey, "the key is unknown, expired or revoked");
    let digest = api_key::digest(key);
    if is_operator(app, &digest) {
        return Err(Problem::new(Code::Forbidden, "the operator's key belongs to no tenant"));
    }
    if !api_key::is_plausible(key) {
        return Err(invalid());
    }
    let lookup = async {
        let found = configuration::find_key(&app.database, &api_key::hex(&digest)).await?;
        Ok::<_, Problem>(found.map(Arc::new))
    };
    let found = app.keys.get(digest, app.configuration_generation(), lookup).await?.ok_or_else(invalid)?;
    let expired = found.expires_at.is_some_and(|expires_at| expires_at <= app.clock.now());
    if expired || found.revoked_at.is_some() {
        return Err(invalid());
    }
    let _ = trace.tenant_id.set(found.tenant_id);
    check_role(found.role, needed)?;
    Ok(Caller { tenant_id: found.tenant_id, role: found.role, actor: format!("key:{}", found.key_id), trace })
}

/// # Errors
/// `forbidden`.
pub(crate) fn check_role(role: Role, needed: Role) -> Result<(), Problem> {
    if role.includes(needed) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, format_args!("this needs a key of role {}", needed.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(sent: &[(&'static str, &str)]) -> HeaderMap {
        sent.iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_key_comes_in_either_header() {
        assert_eq!(sent_key(&headers(&[("x-api-key", "vb_a")])).unwrap(), "vb_a");
        assert_eq!(sent_key(&headers(&[("authorization", "bearer vb_b")])).unwrap(), "vb_b");
        assert_eq!(
            sent_key(&headers(&[("x-api-key", "vb_a"), ("authorization", "Bearer vb_b")])).unwrap(),
            "vb_a"
        );
    }

    #[test]
    fn without_a_key_the_client_is_told_how_to_send_one() {
        for sent in [&[][..], &[("authorization", "Basic abc")], &[("authorization", "vb_b")]] {
            assert_eq!(sent_key(&headers(sent)).unwrap_err().code(), Code::MissingApiKey);
        }
    }
}
