//! `POST /api/twilio/status`: how a call is doing, says Twilio.

use axum::extract::State;
use axum::http::StatusCode;
use events::call::CallStatus;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::signed::Webhook;
use crate::App;
use crate::calls;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::twilio;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(twilio_status))
}

/// A call's status
///
/// Called by Twilio, which signs it. A call that is over there is ended here, if it is not yet; repeated or late, it
/// changes nothing.
#[utoipa::path(
    post, path = "/api/twilio/status", tag = "Calls", operation_id = "twilio_status",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 204, description = "Noted"), problems::OfAWebhook)
)]
async fn twilio_status(State(app): State<App>, webhook: Webhook) -> Result<StatusCode, Problem> {
    let (account_sid, to, from) = (webhook.text("AccountSid"), webhook.text("To"), webhook.text("From"));
    let is_outbound = webhook.text("Direction").starts_with("outbound");
    let route = twilio::route(&app, account_sid, if is_outbound { from } else { to }).await?;
    let account = route.as_ref().map(|route| &route.account).or(app.config.telephony.twilio.as_ref());
    webhook.check(account)?;
    let call_sid = webhook.call_sid()?;
    let Some((status, reason)) = ending(webhook.text("CallStatus")) else {
        return Ok(StatusCode::NO_CONTENT);
    };
    if let Some(route) = route {
        let tenant_id = route.tenant_id;
        let call_id = twilio::call_id(tenant_id, call_sid);
        calls::end(&app, tenant_id, call_id, &webhook.cause(tenant_id), status, reason).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What an end at the carrier is here; `None`: it goes on.
fn ending(status: &str) -> Option<(CallStatus, &'static str)> {
    match status {
        "completed" => Some((CallStatus::Completed, "caller_hung_up")),
        "busy" => Some((CallStatus::Busy, "busy")),
        "no-answer" => Some((CallStatus::NoAnswer, "no_answer")),
        "failed" | "canceled" => Some((CallStatus::Failed, "carrier_failed")),
        _ => None,
    }
}
