//! Waiting for the end of something that workers do.

use std::time::Duration;

use events::{Aggregate, Recorded};
use nats::LiveMessage;
use nats::live::LiveSubscription;
use tokio::time::{Instant, sleep_until};

use crate::App;
use crate::problem::Problem;

/// The log is looked at so often while nothing is heard.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The end of `aggregate`, heard live or found in the log; `None` when there is none by `deadline`. `end` tells it from
/// other events.
pub(crate) async fn for_end<T>(
    app: &App,
    aggregate: Aggregate,
    live: LiveSubscription,
    may_be_over: bool,
    deadline: Instant,
    end: impl Fn(&Recorded) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let mut live = Some(live);
    let mut look_at = if may_be_over { Instant::now() } else { Instant::now() + LOOK_AGAIN };
    loop {
        tokio::select! {
            heard = heard(&mut live) => match heard {
                Some(LiveMessage::Happened(recorded)) => {
                    if let Some(ended) = end(&recorded) {
                        return Ok(Some(ended));
                    }
                }
                Some(LiveMessage::Delta(_)) => {}
                // The connection was closed for good; the log is still looked at.
                None => live = None,
            },
            () = sleep_until(look_at.min(deadline)) => {
                let history = app.nats.log.read(&aggregate, 0).await?;
                if let Some(ended) = history.iter().find_map(&end) {
                    return Ok(Some(ended));
                }
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                look_at = Instant::now() + LOOK_AGAIN;
            }
        }
    }
}

async fn heard(live: &mut Option<LiveSubscription>) -> Option<LiveMessage> {
    match live {
        Some(live) => live.next().await,
        None => std::future::pending().await,
    }
}
