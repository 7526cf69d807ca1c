//! The loop that holds one socket: between its wire, its line and the media subjects.

use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use nats::media::{CloseReason, SocketSide, Up};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::limits::SocketLimits;
use super::line::{Bucket, Line, Out};
use super::refusal::Refusal;
use super::wire::{Said, Wire};

/// How long the other side may take to hear why it is over.
const PARTING: Duration = Duration::from_secs(2);

/// A socket of a call that has begun.
pub(super) struct Held<W> {
    pub(super) wire: W,
    pub(super) line: Line,
    pub(super) media: SocketSide,
    pub(super) limits: SocketLimits,
    /// Another socket came for the same call.
    pub(super) replaced: CancellationToken,
    pub(super) shutdown: CancellationToken,
}

/// Why a socket is not held any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other side closed it, well or badly.
    Left(CloseReason),
    Refused(Refusal),
    HungUp(String),
}

impl End {
    fn reason(&self) -> CloseReason {
        match self {
            Self::Left(reason) => *reason,
            Self::Refused(refusal) => refusal.close_reason(),
            Self::HungUp(_) => CloseReason::Finished,
        }
    }
}

impl<W: Wire> Held<W> {
    /// Holds the socket until it ends, tells both sides, and answers why.
    pub(super) async fn hold(mut self, mut socket: WebSocket) -> End {
        let opened = Instant::now();
        let end = self.run(&mut socket, opened).await;
        // The worker first: a caller who hung up must not be talked to.
        let _ = self.media.send(&Up::Closed { reason: end.reason() }).await;
        match &end {
            End::Left(_) => part(&mut socket, close_code::NORMAL, "you left").await,
            End::Refused(refusal) => refuse(&mut socket, *refusal).await,
            End::HungUp(reason) => {
                if let Some(ended) = self.wire.ended(reason, opened.elapsed().as_secs_f64()) {
                    let _ = timeout(PARTING, socket.send(ended)).await;
                }
                part(&mut socket, close_code::NORMAL, "the call is over").await;
            }
        }
        end
    }

    async fn run(&mut self, socket: &mut WebSocket, opened: Instant) -> End {
        let mut messages = Bucket::new(
            u64::from(self.limits.message_burst),
            u64::from(self.limits.messages_per_second) * 1_000,
        );
        let mut was_attended = false;
        let (replaced, shutdown) = (self.replaced.clone(), self.shutdown.clone());
        let (mut replaced, mut shutdown) = (pin!(replaced.cancelled()), pin!(shutdown.cancelled()));
        let mut alarm = pin!(sleep_until(opened));
        loop {
            if let Err(end) = self.perform(socket).await {
                return end;
            }
            if self.line.is_attended() && !was_attended {
                was_attended = true;
                if let Some(message) = self.wire.attended()
                    && let Err(end) = self.send(socket, message).await
                {
                    return end;
                }
            }
            let wake = opened + self.line.wake_at();
            // An alarm that rings too early does no harm; setting it later for every frame would cost more.
            if wake < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake);
            }
            // Each is cancel-safe: a message that was not received yet stays where it is.
            let outcome = tokio::select! {
                message = socket.recv() => {
                    let now = opened.elapsed();
                    let taken = messages.fill(now, 1, Refusal::TooManyMessages).map_err(End::Refused);
                    taken.and_then(|()| self.received(now, message))
                }
                said = self.media.next() => match said {
                    Some((attempt, down)) => {
                        self.line.down(opened.elapsed(), attempt, down);
                        Ok(())
                    }
                    None => Err(End::Refused(Refusal::Unavailable)),
                },
                () = alarm.as_mut() => {
                    let now = opened.elapsed();
                    self.line.tick(now);
                    self.line.overdue(now).map_or(Ok(()), |refusal| Err(End::Refused(refusal)))
                }
                () = &mut replaced => Err(End::Refused(Refusal::Replaced)),
                () = &mut shutdown => Err(End::Refused(Refusal::ShuttingDown)),
            };
            if let Err(end) = outcome {
                let _ = self.perform(socket).await;
                return end;
            }
        }
    }

    fn received(&mut self, now: Duration, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Left(CloseReason::Lost)),
            Some(Err(error)) => return Err(unreadable(&error)),
            Some(Ok(message)) => message,
        };
        match self.wire.read(&message).map_err(End::Refused)? {
            Said::Audio { bytes, at_ms } => self.line.heard(now, bytes, at_ms).map_err(End::Refused)?,
            Said::Mark(mark) => self.line.mark_returned(now, mark),
            Said::Dtmf(digit) => self.line.dtmf(digit),
            Said::EndOfUtterance => self.line.end_of_utterance(),
            Said::Stop => return Err(End::Left(CloseReason::HungUp)),
            Said::Nothing => {}
        }
        Ok(())
    }

    /// Does all that the line wants done.
    async fn perform(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        while let Some(out) = self.line.next() {
            let message = match out {
                Out::Up(up) => {
                    let sent = self.media.send(&up).await;
                    sent.map_err(|_| End::Refused(Refusal::Unavailable))?;
                    continue;
                }
                Out::Play(audio) => Some(self.wire.play(audio)),
                Out::Mark(mark) => self.wire.mark(mark),
                Out::Clear => Some(self.wire.clear()),
                Out::Tell(frame) => self.wire.tell(frame),
                Out::HangUp(reason) => return Err(End::HungUp(reason)),
            };
            if let Some(message) = message {
                self.send(socket, message).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, socket: &mut WebSocket, message: Message) -> Result<(), End> {
        match timeout(self.limits.write, socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Left(CloseReason::Lost)),
        }
    }
}

/// axum hides what is wrong with a message in words.
pub(super) fn unreadable(error: &axum::Error) -> End {
    let words = error.to_string();
    if words.contains("too long") {
        End::Refused(Refusal::MessageTooLarge)
    } else if words.contains("UTF-8") {
        End::Refused(Refusal::InvalidMessage("the text is not UTF-8"))
    } else {
        End::Left(CloseReason::Lost)
    }
}

/// Says why, and closes.
pub(super) async fn refuse(socket: &mut WebSocket, refusal: Refusal) {
    let error = json!({ "type": "error", "code": refusal.code(), "message": refusal.to_string() });
    let _ = timeout(PARTING, socket.send(Message::text(error.to_string()))).await;
    part(socket, refusal.close_code(), refusal.code()).await;
}

/// Closes, or answers the other side's goodbye, and waits until it was heard: a connection that is dropped with something
/// unread loses our last words.
async fn part(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let heard = async {
        // Refused when the other side was first; the answer to it waits for us to go on.
        let _ = socket.send(close).await;
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = timeout(PARTING, heard).await;
}
