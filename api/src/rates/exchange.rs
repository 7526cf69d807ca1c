//! Telling other processes what was let through, and hearing it of them: core NATS, kept nowhere. A message that is lost
//! costs that much of accuracy, and nothing else.

use std::time::Duration;

use nats::rates::Told;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::App;

/// The others are told at least so often, while there is something to tell; much is told at once.
const TICK: Duration = Duration::from_millis(50);
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Tells and hears until `shutdown`.
pub(crate) async fn exchange(app: App, shutdown: CancellationToken) {
    let both = async {
        tokio::join!(tell(&app), hear(&app));
    };
    shutdown.run_until_cancelled(both).await;
}

async fn tell(app: &App) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Both are cancel-safe.
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.rates.hurry.notified() => {}
        }
        let used = app.rates.tell();
        if !used.is_empty() {
            // While NATS is away every process counts for itself.
            let _ = app.nats.rates.tell(used).await;
        }
    }
}

async fn hear(app: &App) {
    loop {
        match app.nats.rates.listen().await {
            Ok(mut told) => {
                while let Some(Told { used }) = told.next().await {
                    app.rates.owe(&used);
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "what other processes let through is not heard");
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}
