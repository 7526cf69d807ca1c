//! The media worker: holds a call, from the claim to its end.
//!
//! A call is one delivery, claimed as a turn is claimed and held for as long as the call lasts. [`claimed`] is what a
//! worker knows of the call it holds, [`conversation`] the loop that hears and speaks, with [`ears`], [`mouth`],
//! [`speaker`] (text to audio), [`reply`] (the brain's answer as it comes), [`recorder`] and [`stopwatch`] around it.
//! What decides is elsewhere: `domain::voice_turn` whose turn it is, `workers::turns` what is answered.
//!
//! When a worker dies, the delivery comes to another one within two seconds; the socket has kept what the caller said
//! since, and goes on playing what it has.

mod answering;
mod claimed;
mod connecting;
mod conversation;
mod ears;
mod ending;
mod metering;
mod mouth;
mod paying;
mod recorder;
mod reply;
mod saying;
mod speaker;
mod stopwatch;

use std::sync::Arc;

use events::Payload;
use nats::consume::{self, Delivery, Limits};
use nats::topology::VOICE;
use nats::{Failure, Handler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Workers;
use crate::voice_messages::VoiceMessages;

pub(crate) use connecting::{who_hears, who_speaks};

use claimed::Claimed;
use conversation::{Conversation, LetGo};

const SOURCE: &str = "vocalbridge/voice";

/// Runs the media worker until `shutdown`; then each call is handed over, at the latest when `limits.drain` is over.
pub async fn run(workers: Workers, limits: Limits, shutdown: CancellationToken) {
    let (log, clock) = (workers.nats.log.clone(), workers.clock.clone());
    let tasks = TaskTracker::new();
    let messages = VoiceMessages::new(workers.clone(), tasks.clone());
    let voice = Voice { workers, messages, shutdown: shutdown.clone(), tasks: tasks.clone() };
    consume::run(log, clock, VOICE, limits, Arc::new(voice), shutdown).await;
    tasks.close();
}

struct Voice {
    workers: Workers,
    /// Recordings come by the same lane.
    messages: VoiceMessages,
    shutdown: CancellationToken,
    /// Who speaks a piece runs beside the call.
    tasks: TaskTracker,
}

impl Handler for Voice {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        if let Payload::RecordingReceived(received) = &delivery.recorded.event.payload {
            return Box::pin(self.messages.handle(delivery, received)).await;
        }
        let claimed = Box::pin(Claimed::claim(&self.workers, delivery)).await?;
        let Some(claimed) = claimed else { return Ok(()) };
        if let Some(agent) = &claimed.agent {
            // In this order: a greeting is said before anybody is heard.
            self.workers.tts.prepare(&who_speaks(agent));
            self.workers.stt.prepare(&who_hears(agent));
        }
        let call_id = claimed.call_id;
        let opened = Conversation::open(self.workers.clone(), claimed, self.tasks.clone());
        let conversation = Box::pin(opened).await?;
        match conversation.hold(&self.shutdown).await? {
            LetGo::Ended => Ok(()),
            LetGo::HandedOver => {
                tracing::info!(%call_id, "a call is handed over");
                Err(Failure::HandOver)
            }
            LetGo::TakenOver => Err(Failure::Stale),
        }
    }

    async fn give_up(&self, delivery: &Delivery, reason: &str) -> Result<(), Failure> {
        if let Payload::RecordingReceived(received) = &delivery.recorded.event.payload {
            return self.messages.give_up(delivery, received, reason).await;
        }
        ending::give_up(&self.workers, delivery, reason).await
    }
}
