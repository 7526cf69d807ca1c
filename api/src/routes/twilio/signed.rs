//! A webhook of Twilio's: a form, and a signature over it and over the address that it was sent to.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use events::{Cause, TenantId};
use vendors::telephony::twilio::{SIGNATURE_HEADER, is_signed};

use crate::App;
use crate::auth::trace_of;
use crate::config::TwilioAccount;
use crate::extract::received;
use crate::problem::{Code, Problem};
use crate::trace::Trace;

/// Forms of webhooks have some twenty short values.
const MAX_FORM_BYTES: usize = 64 * 1_024;
const MAX_SID_CHARS: usize = 64;

/// A webhook whose signature was not checked yet: whose account must have signed it depends on what it says.
pub(super) struct Webhook {
    parameters: Vec<(String, String)>,
    /// The public one.
    url: String,
    signature: String,
    pub(super) trace: Arc<Trace>,
}

impl FromRequest<App> for Webhook {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_is_form(&parts.headers)?;
        let body = received(body, MAX_FORM_BYTES).await?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let signature = parts.headers.get(SIGNATURE_HEADER).and_then(|sent| sent.to_str().ok());
        Ok(Self {
            parameters: form_urlencoded::parse(&body).into_owned().collect(),
            url: format!("{}{path}", app.config.app_url),
            signature: signature.unwrap_or_default().to_owned(),
            trace: trace_of(&parts),
        })
    }
}

impl Webhook {
    /// A parameter; empty when it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.parameters.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// Twilio's name for the call.
    ///
    /// # Errors
    /// `bad_request` when it is none.
    pub(super) fn call_sid(&self) -> Result<&str, Problem> {
        let sid = self.text("CallSid");
        let is_sid =
            (1..=MAX_SID_CHARS).contains(&sid.len()) && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_sid { Ok(sid) } else { Err(Problem::new(Code::BadRequest, "there is no CallSid")) }
    }

    /// # Errors
    /// `invalid_signature`.
    pub(super) fn check(&self, account: Option<&TwilioAccount>) -> Result<(), Problem> {
        let is_right = account.is_some_and(|account| {
            is_signed(&account.auth_token, &self.url, &self.parameters, &self.signature)
        });
        if is_right {
            return Ok(());
        }
        Err(Problem::new(
            Code::InvalidSignature,
            "APP_URL must be the address that Twilio calls, and the auth token that of its account",
        ))
    }

    /// Of everything that follows from it.
    pub(super) fn cause(&self, tenant_id: TenantId) -> Cause {
        let _ = self.trace.tenant_id.set(tenant_id);
        Cause { origin: self.trace.origin("twilio".to_owned()), causation_id: None }
    }
}

fn check_is_form(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = sent.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "webhooks send application/x-www-form-urlencoded"))
}
