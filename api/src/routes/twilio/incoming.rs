//! `POST /api/twilio/incoming`: somebody calls a number, or a call has lost its stream.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use events::call::{CallStatus, Direction, Transport};
use events::{CallId, TenantId};
use projections::configuration::{AgentRecord, telephony};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use vendors::telephony::twiml::{self, Verb};

use super::signed::Webhook;
use crate::calls::{self, NewCall};
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::reservations::Asked;
use crate::sockets::StreamToken;
use crate::twilio::{self, Route};
use crate::{App, rates};

const PATH: &str = "/api/twilio/incoming";
/// A call that has lost its stream so often is not brought back any more.
const MOST_RETURNS: u32 = 20;
const ENGLISH: &str = "en-US";

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(twilio_incoming))
}

/// A call comes in
///
/// Called by Twilio, which signs it. The answer opens a stream to `/ws/voice-twilio`; when the stream is lost, the call
/// comes back here. A webhook that is repeated is the same call.
#[utoipa::path(
    post, path = "/api/twilio/incoming", tag = "Calls", operation_id = "twilio_incoming",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What is to be done on the call, as TwiML", body = String,
            content_type = "text/xml"),
        problems::OfAWebhook,
    )
)]
async fn twilio_incoming(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    webhook: Webhook,
) -> Result<Response, Problem> {
    let route = twilio::route(&app, webhook.text("AccountSid"), webhook.text("To")).await?;
    let Some(Route { tenant_id, agent_id, account }) = route else {
        webhook.check(app.config.telephony.twilio.as_ref())?;
        return Ok(said("This number is not in service. Goodbye.", ENGLISH));
    };
    webhook.check(Some(&account))?;
    let call_sid = webhook.call_sid()?;
    let call_id = twilio::call_id(tenant_id, call_sid);
    let call = calls::read(&app, tenant_id, call_id).await?;
    let returns = returns(uri.query());
    let caller = Caller { app: &app, webhook: &webhook, tenant_id, call_id, call_sid };
    match call.started {
        _ if call.ended => Ok(answered([Verb::Hangup])),
        Some(_) if returns > MOST_RETURNS => caller.give_up().await,
        Some(_) => Ok(caller.stream(returns)),
        None => {
            let agent = match agent_id {
                Some(agent_id) => app.agent(tenant_id, agent_id).await?,
                None => telephony::first_active_agent(&app.database, tenant_id).await?.map(Arc::new),
            };
            caller.begin(agent.filter(|agent| agent.settings.is_active)).await
        }
    }
}

struct Caller<'a> {
    app: &'a App,
    webhook: &'a Webhook,
    tenant_id: TenantId,
    call_id: CallId,
    call_sid: &'a str,
}

impl Caller<'_> {
    async fn begin(&self, agent: Option<Arc<AgentRecord>>) -> Result<Response, Problem> {
        let Self { app, webhook, tenant_id, call_id, call_sid } = *self;
        let Some(agent) = agent else {
            return Ok(said("Nobody can take your call at the moment. Goodbye.", ENGLISH));
        };
        let trace = &webhook.trace;
        let counted = rates::count_caller(app, trace, tenant_id, None).await;
        match counted.and_then(|()| rates::count_agent(app, trace, &agent)) {
            Err(problem) if problem.code() == Code::RateLimited => {
                return Ok(said("All lines are busy. Please call again in a moment. Goodbye.", ENGLISH));
            }
            counted => counted?,
        }
        if !app.places.has_room() {
            return Ok(answered([Verb::RejectAsBusy]));
        }
        let asked = Asked { tenant_id, key_id: None, agent: &agent };
        let reservation = match asked.call(app, call_id, Transport::Twilio.carrier()).await {
            Ok(reservation) => reservation,
            Err(problem) => return refused(problem),
        };
        let from = Some(webhook.text("From")).filter(|number| is_number(number));
        let unknown = format!("twilio-{call_id}");
        let new = NewCall {
            call_id,
            agent: &agent,
            direction: Direction::Inbound,
            transport: Transport::Twilio,
            // Whoever calls again from the same number is the same customer.
            customer_id: from.unwrap_or(&unknown),
            caller_number: from,
            called_number: Some(webhook.text("To")).filter(|number| !number.is_empty()),
            provider_call_sid: Some(call_sid),
        };
        reservation.check()?;
        calls::start(app, tenant_id, &webhook.cause(tenant_id), new).await?;
        tracing::info!(%tenant_id, %call_id, "a call comes in");
        Ok(self.stream(0))
    }

    /// Opens a stream, and comes back here when it is lost.
    fn stream(&self, returns: u32) -> Response {
        let Self { app, tenant_id, call_id, call_sid, .. } = *self;
        let token = StreamToken { tenant_id, call_id, call_sid: call_sid.to_owned() };
        let (token, _) = app.tokens.issue(Uuid::now_v7(), app.clock.now(), token);
        let url = twilio::socket_url(&app.config.app_url);
        answered([
            Verb::ConnectStream { url, parameters: vec![("token", token)] },
            Verb::Redirect { url: format!("{}{PATH}?returns={}", app.config.app_url, returns + 1) },
        ])
    }

    async fn give_up(&self) -> Result<Response, Problem> {
        let Self { app, tenant_id, call_id, .. } = *self;
        let cause = self.webhook.cause(tenant_id);
        calls::end(app, tenant_id, call_id, &cause, CallStatus::Failed, "stream_lost").await?;
        Ok(said("We have lost the connection. Please call again.", ENGLISH))
    }
}

/// What a caller hears for whom there is no room.
fn refused(problem: Problem) -> Result<Response, Problem> {
    match problem.code() {
        Code::BudgetExceeded => Ok(said("We cannot take your call at the moment. Goodbye.", ENGLISH)),
        Code::ConcurrencyLimit => Ok(answered([Verb::RejectAsBusy])),
        _ => Err(problem),
    }
}

/// How often the call came back; the signature covers it.
fn returns(query: Option<&str>) -> u32 {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(name, _)| name == "returns").and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
}

/// Whether it is a number, and not what stands for one that was withheld.
fn is_number(from: &str) -> bool {
    // What Twilio sends for RESTRICTED, BLOCKED, UNKNOWN, ANONYMOUS and UNAVAILABLE, spelled on a keypad.
    const WITHHELD: [&str; 5] = ["+7378742833", "+2562533", "+8656696", "+266696687", "+86282452253"];
    let digits = from.strip_prefix('+').unwrap_or_default();
    digits.len() >= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) && !WITHHELD.contains(&from)
}

fn said(text: &str, language: &str) -> Response {
    answered([Verb::Say { text: text.to_owned(), language: language.to_owned() }, Verb::Hangup])
}

fn answered(verbs: impl IntoIterator<Item = Verb>) -> Response {
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], twiml::Response::of(verbs).to_string())
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withheld_number_is_nobodys() {
        assert!(is_number("+14155550100"));
        for none in ["", "anonymous", "Anonymous", "+266696687", "+8656696", "sip:alice@example.com", "+"] {
            assert!(!is_number(none), "{none}");
        }
    }

    #[test]
    fn returns_are_counted_in_the_address() {
        assert_eq!(returns(None), 0);
        assert_eq!(returns(Some("a=b&returns=7")), 7);
        assert_eq!(returns(Some("returns=-1")), 0);
    }
}
