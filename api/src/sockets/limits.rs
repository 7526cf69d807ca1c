//! What a socket may do, and for how long.

use std::time::Duration;

/// Bounds of one call's socket. The defaults are what calls need with room to spare.
#[derive(Clone, Debug)]
pub struct SocketLimits {
    /// Calls that this process holds at once; more are refused at once.
    pub max_calls: usize,
    /// Utterances of `/ws/voice` that are worked on at once.
    pub max_pipelines: usize,
    /// How long a call may last.
    pub call: Duration,
    /// How long a carrier's socket may be silent before it says whose call it is.
    pub start: Duration,
    /// How long a new call waits for a media worker.
    pub worker: Duration,
    /// How long a socket may send no audio.
    pub silence: Duration,
    /// How long one message may take to be taken by the other side.
    pub write: Duration,
    /// The largest message, in bytes.
    pub message_bytes: usize,
    /// Messages beyond audio's own pace: so many at once, and so many a second on the long run.
    pub message_burst: u32,
    pub messages_per_second: u32,
    /// Audio may come faster than it is spoken for a while, as after a stall: so much at once, and so many times real
    /// time on the long run.
    pub audio_burst: Duration,
    pub audio_pace: u32,
    /// Audio that no worker has committed yet is kept this long.
    pub kept: Duration,
    /// How far audio is sent ahead of being heard; what is sent cannot be taken back.
    pub lead: Duration,
    /// Audio is sent in pieces of about this length.
    pub chunk: Duration,
    /// How often a worker is told what was played.
    pub report: Duration,
    /// Speech that waits to be sent; more of it is dropped.
    pub queued: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            max_calls: 500,
            max_pipelines: 10,
            call: Duration::from_secs(60 * 60),
            start: Duration::from_secs(10),
            worker: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            write: Duration::from_secs(5),
            message_bytes: 64 * 1_024,
            message_burst: 1_000,
            messages_per_second: 200,
            audio_burst: Duration::from_secs(30),
            audio_pace: 2,
            kept: Duration::from_secs(30),
            lead: Duration::from_millis(100),
            chunk: Duration::from_millis(40),
            report: Duration::from_millis(200),
            queued: Duration::from_secs(180),
        }
    }
}
