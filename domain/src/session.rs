//! A conversation: whose turn it is, what was said, and which worker may go on with it.
//!
//! Invariants, kept by the compare-and-set of every deciding append:
//! - at most one turn is under way;
//! - a message stays in `pending` until its one terminal event (`reply_completed` or `turn_failed`);
//! - while a turn is under way, its worker holds the delivery that `held_sequence` names, and stays with the session
//!   until nothing is pending. So whoever finds a turn under way may acknowledge its own delivery;
//! - of a reply that was interrupted, `history` has what was heard and no more, whether the interruption came before or
//!   after the terminal event.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use events::prompt::PromptVersion;
use events::session::{CancelRequested, Channel, ReplyInterrupted, SpokenMessage, ToolStatus};
use events::webhook::Callback;
use events::{
    AgentId, ApiKeyId, CorrelationId, CustomerKeyId, EventId, JobId, MessageId, Origin, Payload, Recorded,
    Sealed, ToolCallId, TurnId,
};
use serde::{Deserialize, Serialize};

use crate::tools;

/// Lines of the past that the fold keeps for the model; the transcript keeps them all. They are summarised before there
/// are so many ([`crate::context::MANY_LINES`]): only where that fails again and again the oldest are forgotten.
pub const HISTORY_LINES: usize = 100;

/// The fold of a session's history up to and with `last_sequence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// 0: nothing happened yet.
    pub last_sequence: u64,
    pub opened: Option<Opened>,
    pub ended: bool,
    /// What was said before `history`, in few words.
    #[serde(default)]
    pub summary: Option<Words>,
    /// What was said in finished turns, oldest first, but for what the summary covers.
    pub history: VecDeque<Line>,
    /// The assistant's newest line, until it is interrupted.
    #[serde(default)]
    pub last_reply: Option<Reply>,
    /// The newest message that was heard in a call.
    #[serde(default)]
    pub spoken: Option<SpokenMessage>,
    /// Accepted messages without a terminal event, oldest first; the first is the one a running turn answers.
    pub pending: VecDeque<Pending>,
    pub turn: Option<Turn>,
}

/// How the session began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    pub agent_id: AgentId,
    pub channel: Channel,
    pub customer_key_id: CustomerKeyId,
    /// Values for variables of the agent's prompt: the JSON text of an object of strings.
    #[serde(default)]
    pub prompt_variables: Option<Words>,
}

/// Sealed words and the event they were sealed for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Words {
    pub event_id: EventId,
    pub sealed: Sealed,
}

/// One line of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Line {
    Customer(Words),
    Assistant(Words),
}

impl Line {
    pub fn words(&self) -> &Words {
        let (Self::Customer(words) | Self::Assistant(words)) = self;
        words
    }
}

/// A line of the assistant that may turn out to have been cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub job_id: JobId,
    /// Of the line's words.
    pub event_id: EventId,
}

/// What the caller heard of a reply before they interrupted it; `None`: not a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard(pub Option<Words>);

/// An accepted message that has no answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub sequence: u64,
    pub message_id: MessageId,
    pub job_id: JobId,
    pub words: Words,
    pub agent_version: u32,
    pub stream: bool,
    pub accepted_at: DateTime<Utc>,
    pub correlation_id: CorrelationId,
    pub traceparent: String,
    /// Told how the message ends.
    #[serde(default)]
    pub callback: Option<Callback>,
    /// The reply is spoken into a file.
    #[serde(default)]
    pub aloud: bool,
    #[serde(default)]
    pub key_id: Option<ApiKeyId>,
    /// It was said in a call, whose work it is part of.
    #[serde(default)]
    pub in_call: bool,
    /// The caller spoke on before the answer was complete. Whatever it still becomes, this is all of it that was said.
    #[serde(default)]
    pub interrupted: Option<Heard>,
    /// The answer is not wanted any more; the turn under way ends without it.
    #[serde(default)]
    pub cancelled: bool,
}

impl Pending {
    /// The origin of whatever `actor` does for this message.
    pub fn origin(&self, actor: &str) -> Origin {
        Origin {
            correlation_id: self.correlation_id.clone(),
            actor: actor.to_owned(),
            traceparent: self.traceparent.clone(),
            key_id: self.key_id,
        }
    }
}

/// The turn under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    pub turn_id: TurnId,
    pub message_id: MessageId,
    pub attempt: u32,
    pub held: Held,
    /// Told to the model in every attempt; `None`: the agent's own text.
    #[serde(default)]
    pub prompt: Option<PromptVersion>,
    /// Tool calls in the order they were asked for.
    pub tools: Vec<ToolCall>,
}

impl Turn {
    /// The call that says what comes after the turn's words: the last transfer that was granted, else the last end. A
    /// transfer ends the conversation too, so it is not undone by an end.
    pub fn parting(&self) -> Option<&ToolCall> {
        let granted = |name: &'static str| {
            self.tools.iter().rev().find(move |call| {
                call.name == name && call.result.as_ref().is_some_and(|(status, _)| *status == ToolStatus::Ok)
            })
        };
        granted(tools::TRANSFER_CALL).or_else(|| granted(tools::END_CALL))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub tool_call_id: ToolCallId,
    pub vendor_call_id: String,
    pub name: String,
    pub arguments: Words,
    pub round: u32,
    pub said: Option<Words>,
    pub signature: Option<Words>,
    /// `None` while it runs.
    pub result: Option<(ToolStatus, Words)>,
}

/// The delivery in a worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub sequence: u64,
    /// Rises each time the same delivery is handed out.
    pub generation: u64,
}

/// What the holder of a delivery may do.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Answer the oldest pending message.
    Start(Pending),
    /// Go on with the turn of a worker that let the delivery fall.
    TakeOver(Pending, Turn),
    /// The worker of the turn under way will take the message next; acknowledge.
    LeaveToHolder,
    /// This is an old copy of a delivery that another worker holds; do nothing, not even acknowledge.
    Stale,
    /// Everything is answered; acknowledge.
    Nothing,
}

/// What is to be done about a job that is not wanted any more.
#[expect(clippy::large_enum_variant, reason = "one at a time, and not kept")]
#[derive(Clone, Debug, PartialEq)]
pub enum Cancelling {
    /// Nobody works on it: it ends here and now.
    End(Pending),
    /// Its turn is under way and must be told.
    Ask,
    /// That was done before.
    Asked,
    /// No message of this job waits for an answer.
    NotPending,
}

impl Session {
    /// The fold of `history`.
    pub fn of(history: &[Recorded]) -> Self {
        let mut session = Self::default();
        for recorded in history {
            session.evolve(recorded);
        }
        session
    }

    /// Takes in one event. Events at or before `last_sequence` have been taken in already and are passed over.
    pub fn evolve(&mut self, recorded: &Recorded) {
        if recorded.position.sequence <= self.last_sequence {
            return;
        }
        self.last_sequence = recorded.position.sequence;
        let envelope = &recorded.event.envelope;
        let words = |sealed: &Sealed| Words { event_id: envelope.id, sealed: sealed.clone() };
        match &recorded.event.payload {
            Payload::SessionCreated(created) => {
                self.opened = Some(Opened {
                    agent_id: created.agent_id,
                    channel: created.channel,
                    customer_key_id: created.customer_key_id,
                    prompt_variables: created.prompt_variables.as_ref().map(words),
                });
            }
            Payload::MessageReceived(received) => {
                self.spoken = received.spoken.or(self.spoken);
                self.pending.push_back(Pending {
                    sequence: recorded.position.sequence,
                    message_id: received.message_id,
                    job_id: received.job_id,
                    words: words(&received.content),
                    agent_version: received.agent_version,
                    stream: received.stream,
                    accepted_at: envelope.time,
                    correlation_id: envelope.origin.correlation_id.clone(),
                    traceparent: envelope.origin.traceparent.clone(),
                    callback: received.callback.clone(),
                    aloud: received.aloud,
                    key_id: envelope.origin.key_id,
                    in_call: received.spoken.is_some(),
                    interrupted: None,
                    cancelled: false,
                });
            }
            Payload::TurnStarted(started) => {
                let before = self.turn.take().filter(|turn| turn.turn_id == started.turn_id);
                self.turn = Some(Turn {
                    turn_id: started.turn_id,
                    message_id: started.message_id,
                    attempt: started.attempt,
                    held: Held { sequence: started.held_sequence, generation: started.held_generation },
                    prompt: started.prompt,
                    tools: before.map(|turn| turn.tools).unwrap_or_default(),
                });
            }
            Payload::ToolRequested(requested) => {
                if let Some(turn) = self.turn_of(requested.turn_id) {
                    turn.tools.push(ToolCall {
                        tool_call_id: requested.tool_call_id,
                        vendor_call_id: requested.vendor_call_id.clone(),
                        name: requested.name.clone(),
                        arguments: words(&requested.arguments),
                        round: requested.round,
                        said: requested.said.as_ref().map(words),
                        signature: requested.signature.as_ref().map(words),
                        result: None,
                    });
                }
            }
            Payload::ToolCompleted(completed) => {
                let call = self.turn_of(completed.turn_id).and_then(|turn| {
                    turn.tools.iter_mut().find(|call| call.tool_call_id == completed.tool_call_id)
                });
                // The first result counts: a second run of the same call is told of, not used.
                if let Some(call) = call.filter(|call| call.result.is_none()) {
                    call.result = Some((completed.status, words(&completed.result)));
                }
            }
            Payload::SessionSummarized(summarized) => {
                let through = |line: &Line| line.words().event_id == summarized.through;
                if let Some(last) = self.history.iter().position(through) {
                    self.history.drain(..=last);
                }
                self.summary = Some(words(&summarized.summary));
            }
            Payload::Greeted(greeting) => self.said(greeting.job_id, words(&greeting.content)),
            Payload::ReplyCompleted(reply) => {
                if !self.finish(reply.in_reply_to) {
                    self.said(reply.job_id, words(&reply.content));
                }
                self.ended |= reply.then.is_some();
            }
            Payload::TurnFailed(failed) => _ = self.finish(failed.message_id),
            Payload::CancelRequested(CancelRequested { job_id, .. }) => {
                if let Some(pending) = self.pending.iter_mut().find(|pending| pending.job_id == *job_id) {
                    pending.cancelled = true;
                }
            }
            Payload::ReplyInterrupted(interrupted) => self.interrupt(interrupted, envelope.id),
            Payload::SessionEnded(_) => self.ended = true,
            _ => {}
        }
    }

    /// What the holder of `held` may do now.
    pub fn claim(&self, held: Held) -> Claim {
        match (&self.turn, self.pending.front()) {
            (_, None) => Claim::Nothing,
            (None, Some(message)) => Claim::Start(message.clone()),
            (Some(turn), Some(_)) if turn.held.sequence != held.sequence => Claim::LeaveToHolder,
            (Some(turn), Some(message)) if turn.held.generation < held.generation => {
                Claim::TakeOver(message.clone(), turn.clone())
            }
            (Some(_), Some(_)) => Claim::Stale,
        }
    }

    /// How the answer to `job_id` is called off.
    pub fn cancel(&self, job_id: JobId) -> Cancelling {
        let Some(pending) = self.pending.iter().find(|pending| pending.job_id == job_id) else {
            return Cancelling::NotPending;
        };
        let is_under_way = self.turn.as_ref().is_some_and(|turn| turn.message_id == pending.message_id);
        match (is_under_way, pending.cancelled) {
            (false, _) => Cancelling::End(pending.clone()),
            (true, false) => Cancelling::Ask,
            (true, true) => Cancelling::Asked,
        }
    }

    /// Whether attempt `attempt` of `turn_id` is still the one under way.
    pub fn is_under_way(&self, turn_id: TurnId, attempt: u32) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.turn_id == turn_id && turn.attempt == attempt)
    }

    fn turn_of(&mut self, turn_id: TurnId) -> Option<&mut Turn> {
        self.turn.as_mut().filter(|turn| turn.turn_id == turn_id)
    }

    /// The message has its terminal event: what the customer said becomes history. Whether the answer was interrupted
    /// before: then what was heard of it has become history, too.
    fn finish(&mut self, message_id: MessageId) -> bool {
        self.turn.take_if(|turn| turn.message_id == message_id);
        let index = self.pending.iter().position(|pending| pending.message_id == message_id);
        let Some(answered) = index.and_then(|index| self.pending.remove(index)) else { return false };
        self.remember(Line::Customer(answered.words));
        let Some(Heard(heard)) = answered.interrupted else { return false };
        self.last_reply = None;
        if let Some(words) = heard {
            self.remember(Line::Assistant(words));
        }
        true
    }

    /// The assistant said something of its own, or as a whole reply.
    fn said(&mut self, job_id: JobId, words: Words) {
        self.last_reply = Some(Reply { job_id, event_id: words.event_id });
        self.remember(Line::Assistant(words));
    }

    /// Of the answer that is still awaited, or of the last one, only this was heard. An older one stays as it is, and
    /// the first interruption of an answer counts.
    fn interrupt(&mut self, interrupted: &ReplyInterrupted, event_id: EventId) {
        let heard = interrupted.heard.clone().map(|sealed| Words { event_id, sealed });
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.job_id == interrupted.job_id) {
            pending.interrupted.get_or_insert(Heard(heard));
            return;
        }
        let Some(reply) = self.last_reply.take_if(|reply| reply.job_id == interrupted.job_id) else { return };
        let place = self.history.iter().rposition(|line| line.words().event_id == reply.event_id);
        match (place, heard) {
            (Some(place), Some(words)) => self.history[place] = Line::Assistant(words),
            (Some(place), None) => _ = self.history.remove(place),
            // It is part of a summary by now.
            (None, _) => {}
        }
    }

    fn remember(&mut self, line: Line) {
        if self.history.len() == HISTORY_LINES {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "interruption_tests.rs"]
mod interruption_tests;
