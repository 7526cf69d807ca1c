//! A media worker for tests of sockets: it takes every call that begins, says back what it hears, and does as it is told.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cli::system::System;
use events::{CallId, JobId, Payload};
use nats::consume::{self, Limits};
use nats::media::{Down, SocketState, Up, WorkerSide};
use nats::topology::VOICE;
use nats::{Delivery, Failure, Handler};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Hands every call that begins to the test.
pub struct Calls {
    begun: mpsc::Receiver<CallId>,
    media: nats::Media,
    attempts: HashMap<CallId, u32>,
    end: CancellationToken,
}

struct Taker(mpsc::Sender<CallId>);

impl Handler for Taker {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        if let Payload::CallStarted(_) = &delivery.recorded.event.payload {
            let _ = self.0.send(CallId(delivery.recorded.event.envelope.aggregate.id)).await;
        }
        Ok(())
    }

    async fn give_up(&self, _: &Delivery, _: &str) -> Result<(), Failure> {
        Ok(())
    }
}

impl Calls {
    /// Takes calls from now on.
    pub fn take(system: &System) -> Self {
        let (sender, begun) = mpsc::channel(1_000);
        let end = CancellationToken::new();
        let limits = Limits {
            held: 1_000,
            running: 1_000,
            running_per_tenant: 1_000,
            drain: std::time::Duration::from_millis(1),
        };
        let run = consume::run(
            system.nats.log.clone(),
            system.clock.clone(),
            VOICE,
            limits,
            Arc::new(Taker(sender)),
            end.clone(),
        );
        TaskTracker::new().spawn(run);
        Self { begun, media: system.nats.media.clone(), attempts: HashMap::new(), end }
    }

    /// The next call that begins, and a worker's end of it that has not said anything.
    pub async fn begun(&mut self) -> CallId {
        let begun = tokio::time::timeout(std::time::Duration::from_secs(30), self.begun.recv()).await;
        begun.expect("no call began").expect("calls are taken")
    }

    /// A worker that says hello: its end, and what the socket answers.
    pub async fn attend(&mut self, call_id: CallId) -> (Worker, SocketState) {
        let attempt = self.attempts.entry(call_id).or_default();
        *attempt += 1;
        let side = self.media.worker(call_id, *attempt).await.unwrap();
        let mut worker = Worker { side, generation: 0 };
        worker.say(Down::Hello { worker_id: "test:1".to_owned() }).await;
        let state = worker.state().await;
        (worker, state)
    }

    /// A worker for the next call that begins.
    pub async fn answer(&mut self) -> (CallId, Worker) {
        let call_id = self.begun().await;
        let (worker, _) = self.attend(call_id).await;
        (call_id, worker)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A worker's end of one call.
pub struct Worker {
    side: WorkerSide,
    generation: u32,
}

impl Worker {
    pub async fn say(&self, down: Down) {
        self.side.send(&down).await.unwrap();
    }

    pub async fn hear(&mut self) -> Up {
        let heard = tokio::time::timeout(std::time::Duration::from_secs(30), self.side.next()).await;
        heard.expect("the socket said nothing").expect("the connection stands")
    }

    /// The next frame of the caller.
    pub async fn frame(&mut self) -> (u32, Bytes) {
        loop {
            if let Up::Audio { frame, data } = self.hear().await {
                return (frame, data);
            }
        }
    }

    /// The next time that the socket says what it knows.
    pub async fn state(&mut self) -> SocketState {
        loop {
            if let Up::State(state) = self.hear().await {
                return state;
            }
        }
    }

    /// What the socket says next besides audio and what it knows.
    pub async fn event(&mut self) -> Up {
        loop {
            match self.hear().await {
                Up::Audio { .. } | Up::State(_) => {}
                up => return up,
            }
        }
    }

    /// Begins to speak, and says this.
    pub async fn speak(&mut self, text: &str, audio: Bytes) -> u32 {
        self.generation += 1;
        let generation = self.generation;
        self.say(Down::Begin { generation, job_id: JobId::new() }).await;
        self.say(Down::Piece { generation, text: text.to_owned() }).await;
        self.say(Down::Audio { generation, data: audio }).await;
        self.say(Down::PieceDone { generation }).await;
        generation
    }
}
