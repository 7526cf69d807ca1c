//! How far the projections have come, told to whoever waits for what they just wrote.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use events::Position;
use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::column::count;
use crate::database::{Database, Error};
use crate::projection::Projection;

/// `<partition> <sequence> <projection>,<projection>…`, sent with the commit of a batch.
pub(crate) const PROGRESS_CHANNEL: &str = "vocalbridge_progress";
/// Sent with the commit of a batch that changed the configuration.
pub(crate) const CONFIGURATION_CHANNEL: &str = "vocalbridge_configuration";

/// Checkpoints are read again this often: a notification that went missing costs no more than that.
const REREAD: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Follows the projections' checkpoints. Cheap to clone; one [`Progress::run`] per process serves all clones.
#[derive(Clone, Debug)]
pub struct Progress {
    database: Database,
    /// Per projection the sequences reached, by partition.
    reached: Arc<HashMap<&'static str, watch::Sender<Vec<u64>>>>,
    configuration: watch::Sender<u64>,
}

impl Progress {
    pub fn new(database: Database) -> Self {
        let channel = |projection: Projection| (projection.name(), watch::Sender::new(Vec::new()));
        let reached = Projection::ALL.into_iter().map(channel).collect();
        Self { database, reached: Arc::new(reached), configuration: watch::Sender::new(0) }
    }

    /// Waits until `projection` has applied the event at `position`; `false` when that took longer than `patience`, or
    /// when there is no such projection.
    pub async fn reached(&self, projection: &str, position: Position, patience: Duration) -> bool {
        let Some(sender) = self.reached.get(projection) else { return false };
        let mut receiver = sender.subscribe();
        let there = |reached: &Vec<u64>| {
            reached
                .get(usize::from(position.partition))
                .is_some_and(|sequence| *sequence >= position.sequence)
        };
        timeout(patience, receiver.wait_for(there)).await.is_ok_and(|waited| waited.is_ok())
    }

    /// Changes whenever tenants, keys, agents, prompts or invoices did, and whenever such a change may have been missed.
    pub fn config_changes(&self) -> watch::Receiver<u64> {
        self.configuration.subscribe()
    }

    /// Listens until `shutdown`, reconnecting as needed.
    pub async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let listened = shutdown.run_until_cancelled(self.listen()).await;
            let Some(Err(error)) = listened else { break };
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot follow the projections' progress"
            );
            shutdown.run_until_cancelled(sleep(RECONNECT_PAUSE)).await;
        }
    }

    async fn listen(&self) -> Result<(), Error> {
        let mut listener = PgListener::connect_with(self.database.app()).await?;
        listener.ignore_pool_close_event(true);
        listener.listen_all([PROGRESS_CHANNEL, CONFIGURATION_CHANNEL]).await?;
        // Changes may have been missed while nobody listened. And projectors do not wait for the disk: a database that
        // crashed may have forgotten its newest batches, and what they held is applied again.
        self.reached.values().for_each(|sender| sender.send_modify(Vec::clear));
        self.configuration.send_modify(|changes| *changes += 1);
        let mut reread = interval(REREAD);
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Cancel-safe: a notification is taken whole or not at all.
                notification = listener.try_recv() => match notification? {
                    Some(notification) => self.take(&notification),
                    // The connection was lost and is made again: start over.
                    None => return Err(Error::Unavailable(sqlx::Error::WorkerCrashed)),
                },
                _ = reread.tick() => self.read_checkpoints().await?,
            }
        }
    }

    fn take(&self, notification: &PgNotification) {
        if notification.channel() == CONFIGURATION_CHANNEL {
            self.configuration.send_modify(|changes| *changes += 1);
            return;
        }
        let mut parts = notification.payload().split(' ');
        let partition = parts.next().and_then(|part| part.parse().ok());
        let sequence = parts.next().and_then(|part| part.parse().ok());
        if let (Some(partition), Some(sequence), Some(names)) = (partition, sequence, parts.next()) {
            for name in names.split(',') {
                self.advance(name, partition, sequence);
            }
        }
    }

    async fn read_checkpoints(&self) -> Result<(), Error> {
        let rows = sqlx::query!("select projection, partition, sequence from checkpoints")
            .fetch_all(self.database.app())
            .await?;
        for row in rows {
            if let Ok(partition) = u16::try_from(row.partition) {
                self.advance(&row.projection, partition, count(row.sequence));
            }
        }
        Ok(())
    }

    fn advance(&self, projection: &str, partition: u16, sequence: u64) {
        let Some(sender) = self.reached.get(projection) else { return };
        sender.send_if_modified(|reached| {
            let partition = usize::from(partition);
            if reached.len() <= partition {
                reached.resize(partition + 1, 0);
            }
            let advances = reached[partition] < sequence;
            reached[partition] = reached[partition].max(sequence);
            advances
        });
    }
}

/// What a batch's commit tells: which projections have come to `sequence` of `partition`.
pub(crate) fn message(partition: u16, sequence: u64, projections: &[Projection]) -> String {
    let names: Vec<&str> = projections.iter().map(|projection| projection.name()).collect();
    format!("{partition} {sequence} {}", names.join(","))
}
