//! Who calls, and whether they may. A handler says in its signature what it needs: [`Viewer`], [`Developer`],
//! [`Admin`] or [`Operator`]; and [`AgentViewer`] or [`AgentDeveloper`] where a key will do that is for some agents only.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use events::tenant::Role;
use events::{AgentId, Aggregate, ApiKeyId, Cause, Payload, TenantId};
use projections::configuration::api_keys::{self, KeySecret, KeyUse};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use crate::problem::{Code, Problem};
use crate::trace::{Trace, key_of};
use crate::{App, api_key, rates};

/// A tenant's key at work.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub tenant_id: TenantId,
    pub key_id: ApiKeyId,
    pub role: Role,
    pub reach: Reach,
    pub actor: String,
    pub trace: Arc<Trace>,
}

impl Caller {
    /// Of everything that this request makes happen.
    pub(crate) fn cause(&self) -> Cause {
        Cause { origin: self.trace.origin(self.actor.clone()), causation_id: None }
    }

    /// The key itself, also of whoever came with its ticket.
    pub(crate) fn key_id(&self) -> Option<ApiKeyId> {
        key_of(&self.actor)
    }

    /// What belongs to an agent that the key does not reach is not found, as if it were another tenant's. `what` is
    /// named in the singular.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn check_reaches(&self, agent_id: AgentId, what: &str) -> Result<(), Problem> {
        if self.reach.has(agent_id) { Ok(()) } else { Err(Problem::not_found(what)) }
    }
}

/// The agents that a key reaches, with their sessions, calls and jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reach {
    /// And everything else of the tenant.
    All,
    Only(Vec<AgentId>),
}

impl Reach {
    pub(crate) fn has(&self, agent_id: AgentId) -> bool {
        self.only().is_none_or(|only| only.contains(&agent_id))
    }

    /// `None`: all.
    pub(crate) fn only(&self) -> Option<&[AgentId]> {
        match self {
            Self::All => None,
            Self::Only(agent_ids) => Some(agent_ids),
        }
    }
}

/// May read.
pub(crate) struct Viewer(pub Caller);
/// May also change agents and talk to them.
pub(crate) struct Developer(pub Caller);
/// May also change the tenant's own settings and keys.
pub(crate) struct Admin(pub Caller);

/// The same, also with a key that is for some agents only: whoever takes it must ask the caller's [`Reach`].
pub(crate) struct AgentViewer(pub Caller);
/// The same.
pub(crate) struct AgentDeveloper(pub Caller);

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
    ($($extractor:ident: $role:ident, $check:expr;)*) => {$(
        impl FromRequestParts<App> for $extractor {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                let trace = trace_of(parts);
                let key = sent_key(&parts.headers)?;
                let caller = caller(app, trace, key, Role::$role).await?;
                $check(&caller)?;
                Ok(Self(caller))
            }
        }
    )*};
}

role_extractors! {
    Viewer: Viewer, check_reaches_all;
    Developer: Developer, check_reaches_all;
    Admin: Admin, check_reaches_all;
    AgentViewer: Viewer, |_: &Caller| Ok::<_, Problem>(());
    AgentDeveloper: Developer, |_: &Caller| Ok::<_, Problem>(());
}

/// A handler that knows nothing of agents is about the whole tenant.
fn check_reaches_all(caller: &Caller) -> Result<(), Problem> {
    match caller.reach {
        Reach::All => Ok(()),
        Reach::Only(_) => Err(Problem::new(Code::Forbidden, "the key is for some agents only")),
    }
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

/// A secret that is good, unless it ends or is ended.
#[derive(Debug)]
pub(crate) struct KnownKey {
    tenant_id: TenantId,
    key_id: ApiKeyId,
    role: Role,
    reach: Reach,
    /// `None`: no limit of its own.
    requests_per_minute: Option<u32>,
    /// `None`: never.
    ends_at: Option<DateTime<Utc>>,
}

async fn caller(app: &App, trace: Arc<Trace>, key: &str, needed: Role) -> Result<Caller, Problem> {
    let invalid = || Problem::new(Code::InvalidApiKey, "the key is unknown, expired or revoked");
    let digest = api_key::digest(key);
    if is_operator(app, &digest) {
        return Err(Problem::new(Code::Forbidden, "the operator's key belongs to no tenant"));
    }
    let prefix = api_key::prefix_of(key).ok_or_else(invalid)?;
    let lookup = async { Ok::<_, Problem>(look_up(app, prefix, &digest).await?.map(Arc::new)) };
    let found = app.keys.get(digest, app.configuration_generation(), lookup).await?.ok_or_else(invalid)?;
    let now = app.clock.now();
    if found.ends_at.is_some_and(|ends_at| ends_at <= now) {
        return Err(invalid());
    }
    let KnownKey { tenant_id, key_id, role, ref reach, .. } = *found;
    let _ = trace.tenant_id.set(tenant_id);
    app.key_uses.note(KeyUse { tenant_id, key_id, at: now });
    let limit = found.requests_per_minute.map(|per_minute| (key_id, per_minute));
    rates::count_caller(app, &trace, tenant_id, limit).await?;
    check_role(role, needed)?;
    Ok(Caller { tenant_id, key_id, role, reach: reach.clone(), actor: format!("key:{key_id}"), trace })
}

/// How long the log may take to say whether the tables know all of a key.
const LOG_PATIENCE: Duration = Duration::from_millis(250);

/// The key with this secret, unless it is revoked. Its hash is compared in constant time: how much of it was right is
/// not to be measured.
async fn look_up(app: &App, prefix: &str, digest: &[u8; 32]) -> Result<Option<KnownKey>, Problem> {
    let hash = api_key::hex(digest);
    let same = |secret: &KeySecret| bool::from(secret.hash.as_bytes().ct_eq(hash.as_bytes()));
    let secrets = api_keys::of_prefix(&app.database, prefix).await?;
    let Some(KeySecret { key, ends_at, .. }) = secrets.into_iter().find(same) else { return Ok(None) };
    let mut end = [key.expires_at, ends_at].into_iter().flatten().min();
    let mut revoked = key.revoked_at.is_some();
    // The tables may be behind, and a key that was revoked must not live on until they are not. When the log is away,
    // the tables are all there is.
    let aggregate = Aggregate::key(key.tenant_id, key.key_id);
    let news = timeout(LOG_PATIENCE, async {
        match app.nats.log.last_of(&aggregate).await {
            Ok(last) if last > key.sequence => app.nats.log.read(&aggregate, key.sequence).await,
            _ => Ok(Vec::new()),
        }
    });
    for recorded in news.await.ok().and_then(Result::ok).unwrap_or_default() {
        match recorded.event.payload {
            Payload::KeyRevoked(_) => revoked = true,
            Payload::KeyRotated(rotated) => {
                end = [end, Some(rotated.previous_ends_at)].into_iter().flatten().min();
            }
            _ => {}
        }
    }
    Ok((!revoked).then(|| KnownKey {
        tenant_id: key.tenant_id,
        key_id: key.key_id,
        role: key.role,
        reach: key.agent_ids.map_or(Reach::All, Reach::Only),
        requests_per_minute: key.requests_per_minute,
        ends_at: end,
    }))
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
