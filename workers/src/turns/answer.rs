//! One claimed turn: ask the model, run what it asks for, until it has answered.

use std::time::Duration;

use domain::Session;
use events::session::{Channel, FailureCode, ReplyInterrupted};
use events::{EventId, MessageId};
use nats::Failure;
use nats::live::{Delta, Live};
use projections::configuration::AgentRecord;
use tokio::sync::mpsc;
use uuid::Uuid;
use vendors::llm::{CallOptions, ChainFailed, Completed, DeltaSink, FailureKind, Target};

use super::attempts::Attempts;
use super::context::{Context, Fitted};
use super::{Claimed, ending, tool_round};
use crate::{Workers, away};

/// Deltas on their way to the live subject; when full the vendor's stream waits.
const DELTAS_IN_FLIGHT: usize = 64;

const CANCELLED: &str = "the job was cancelled";

/// Takes the turn to its terminal event and gives the session back as it then stands.
pub(super) async fn answer(workers: &Workers, mut claimed: Claimed) -> Result<Session, Failure> {
    let mut attempts = Attempts::resume(workers, claimed.work()).await?;
    if claimed.session.ended {
        let detail = "the session was ended before this message's turn came";
        return ending::fail(workers, claimed, attempts, FailureCode::SessionEnded, detail).await;
    }
    if claimed.session.opened.is_none() {
        return Err(Failure::Fatal { reason: "the session has no beginning".to_owned() });
    }
    let Some(agent) = claimed.voice.agent.clone() else {
        let detail = "the agent was deleted or switched off";
        return ending::fail(workers, claimed, attempts, FailureCode::AgentUnavailable, detail).await;
    };
    if claimed.message.interrupted.is_some() {
        let detail = "the caller spoke on before this message's turn came";
        return ending::fail(workers, claimed, attempts, FailureCode::Cancelled, detail).await;
    }
    if claimed.message.cancelled {
        return ending::fail(workers, claimed, attempts, FailureCode::Cancelled, CANCELLED).await;
    }
    let chain = chain(workers, &agent);
    let hedge_after = agent.settings.hedge_after_ms.map(|after| Duration::from_millis(after.into()));
    let mut context = Context::new(workers, &agent, &chain);
    loop {
        // A tool or a summary may have taken its time; whoever cancelled wants nothing more.
        let is_called_off = claimed.session.pending.front().is_some_and(|pending| pending.cancelled);
        if is_called_off || claimed.cancellable.token().is_cancelled() {
            return ending::fail(workers, claimed, attempts, FailureCode::Cancelled, CANCELLED).await;
        }
        let rounds = tool_round::rounds(&claimed);
        let may_use_tools = rounds < workers.config.max_tool_rounds;
        let request = match context.request(&mut claimed, &mut attempts, may_use_tools).await? {
            Fitted::Request(mut request) => {
                if attempts.is_limited() {
                    // What is held back for the answer is all that it may have.
                    request.max_output_tokens.get_or_insert(context.most_answer_tokens());
                }
                request
            }
            Fitted::TooLarge { detail } => {
                return ending::fail(workers, claimed, attempts, FailureCode::ContextExceeded, &detail).await;
            }
            Fitted::ShutOut => return Err(attempts.shut_out().await),
        };
        let (asked, said) = ask(workers, &claimed, &chain, &request, hedge_after, &mut attempts).await;
        match asked {
            Ok(completed) if !completed.reply.tool_calls.is_empty() && may_use_tools => {
                match tool_round::run(workers, &mut claimed, completed.reply, rounds + 1).await? {
                    tool_round::Went::On => {}
                    tool_round::Went::ShutOut => return Err(attempts.shut_out().await),
                }
            }
            Ok(completed) => return ending::reply(workers, claimed, attempts, completed).await,
            Err(failed) => {
                if failed.kind == FailureKind::NotAdmitted {
                    return ending::over_budget(workers, claimed, attempts).await;
                }
                if failed.kind == FailureKind::Cancelled && !keep(workers, &mut claimed, &said).await? {
                    return Err(attempts.shut_out().await);
                }
                let code = match failed.kind {
                    FailureKind::TimedOut => FailureCode::VendorTimeout,
                    FailureKind::Cancelled => FailureCode::Cancelled,
                    FailureKind::Failed | FailureKind::NotAdmitted | FailureKind::NoVendor { .. } => {
                        FailureCode::VendorFailed
                    }
                };
                let detail = match &failed.kind {
                    FailureKind::Cancelled => CANCELLED.to_owned(),
                    FailureKind::NoVendor { providers } => missing(workers, providers),
                    _ => failed.detail,
                };
                return ending::fail(workers, claimed, attempts, code, &detail).await;
            }
        }
    }
}

/// Asks the vendors. Of a reply that somebody listens to, also the words that were passed on last.
async fn ask(
    workers: &Workers,
    claimed: &Claimed,
    chain: &[Target],
    request: &vendors::llm::ChatRequest,
    hedge_after: Option<Duration>,
    attempts: &mut Attempts<'_>,
) -> (Result<Completed, ChainFailed>, String) {
    let options = CallOptions { first_attempt: attempts.next_number(), hedge_after };
    // A turn is not cancelled by a shutdown: it finishes within the drain, or another worker takes it over.
    let cancel = claimed.cancellable.token();
    if !claimed.message.stream {
        let completed = workers.vendors.complete(chain, request, None, options, attempts, cancel).await;
        return (completed, String::new());
    }
    let (sink, deltas) = DeltaSink::channel(DELTAS_IN_FLIGHT);
    let forward = forward(workers.nats.live.clone(), claimed.message.job_id, deltas);
    let complete = async {
        let completed =
            workers.vendors.complete(chain, request, Some(&sink), options, attempts, cancel).await;
        drop(sink);
        completed
    };
    // All words are on their way before the terminal event follows them on the same connection.
    tokio::join!(complete, forward)
}

/// The answer was called off in the middle: what was written of it stays, as a reply that was interrupted. In a call that
/// is what was heard, and whoever talks says so. `false`: the turn is another worker's.
async fn keep(workers: &Workers, claimed: &mut Claimed, said: &str) -> Result<bool, Failure> {
    workers.sessions.catch_up(&claimed.aggregate, &mut claimed.session).await.map_err(away)?;
    if !claimed.session.is_under_way(claimed.turn_id, claimed.attempt) {
        return Ok(false);
    }
    let is_kept = claimed.session.pending.front().is_none_or(|pending| pending.interrupted.is_some());
    let opened = claimed.session.opened.clone().filter(|opened| opened.channel == Channel::Chat);
    let Some(opened) = opened.filter(|_| !is_kept && !said.is_empty()) else { return Ok(true) };
    let derived = |what: &[u8]| Uuid::new_v5(&claimed.message.job_id.0, what);
    let (id, message_id) = (EventId(derived(b"interrupted")), MessageId(derived(b"interrupted message")));
    let tenant_id = claimed.aggregate.tenant_id;
    let heard = workers.keyring.seal(tenant_id, opened.customer_key_id.0, id, said).await.map_err(away)?;
    let interrupted = ReplyInterrupted {
        job_id: claimed.message.job_id,
        message_id,
        agent_id: opened.agent_id,
        channel: opened.channel,
        heard: Some(heard),
        heard_ms: 0,
        queued_ms: 0,
    };
    let event = claimed.event_with(workers, id, interrupted);
    claimed.append(workers, event).await
}

/// Passes deltas on, several at once when they come faster than they can be sent, and answers those of the last attempt.
async fn forward(
    live: Live,
    job_id: events::JobId,
    mut deltas: mpsc::Receiver<vendors::llm::Delta>,
) -> String {
    let mut said = Delta { attempt: 0, text: String::new() };
    let mut next = deltas.recv().await;
    while let Some(first) = next.take() {
        let mut delta = Delta { attempt: first.attempt, text: first.text };
        while let Ok(more) = deltas.try_recv() {
            if more.attempt == delta.attempt {
                delta.text.push_str(&more.text);
            } else {
                next = Some(more);
                break;
            }
        }
        if said.attempt != delta.attempt {
            said = Delta { attempt: delta.attempt, text: String::new() };
        }
        said.text.push_str(&delta.text);
        // Nobody to tell: the words are in the reply all the same.
        let _ = live.delta(job_id, &delta).await;
        if next.is_none() {
            next = deltas.recv().await;
        }
    }
    said.text
}

/// Why none of the agent's vendors can be asked, for the one who can change it.
fn missing(workers: &Workers, providers: &[String]) -> String {
    let reason = |provider: &String| match workers.config.absent_providers.get(provider) {
        Some(variable) => format!("{provider} is not configured here: {variable} is not set"),
        None => format!("{provider} is not configured here"),
    };
    providers.iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// Whom to ask, in order: the agent's vendor and model, then its fallbacks with their own models.
pub(crate) fn chain(workers: &Workers, agent: &AgentRecord) -> Vec<Target> {
    let settings = &agent.settings;
    let default_model =
        |provider: &str| workers.config.default_models.get(provider).cloned().unwrap_or_default();
    let primary = Target {
        provider: settings.primary_provider.clone(),
        model: settings.llm_model.clone().unwrap_or_else(|| default_model(&settings.primary_provider)),
    };
    let fallbacks = settings
        .fallbacks
        .iter()
        .map(|provider| Target { provider: provider.clone(), model: default_model(provider) });
    std::iter::once(primary).chain(fallbacks).collect()
}
