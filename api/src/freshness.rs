//! Reading one's own writes: a GET waits until the projection it reads has come to where the log was when it was asked.

use std::time::Duration;

use events::{Aggregate, Position};
use futures_util::future::join_all;
use projections::Projection;
use tokio::time::timeout;

use crate::App;

/// A GET waits no longer; then it answers what the tables know.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// A change of configuration waits no longer before it is answered.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Waits for all that has happened to `aggregate`.
pub(crate) async fn of_aggregate(app: &App, projection: Projection, aggregate: Aggregate) {
    let waited = timeout(READ_PATIENCE, async {
        // When the log is away, the tables are all there is.
        if let Ok(sequence) = app.nats.log.last_of(&aggregate).await {
            let position = Position { partition: app.nats.log.partition_of(&aggregate), sequence };
            app.progress.reached(projection.name(), position, READ_PATIENCE).await;
        }
    });
    let _ = waited.await;
}

/// Likewise; `false`: the tables do not know all of it. When the log is away, they count as if they did.
pub(crate) async fn knows_all_of(app: &App, projection: Projection, aggregate: Aggregate) -> bool {
    match timeout(READ_PATIENCE, app.nats.log.last_of(&aggregate)).await {
        Ok(Ok(sequence)) => {
            let position = Position { partition: app.nats.log.partition_of(&aggregate), sequence };
            app.progress.reached(projection.name(), position, READ_PATIENCE).await
        }
        _ => true,
    }
}

/// Waits for all that has happened anywhere.
pub(crate) async fn of_everything(app: &App, projection: Projection) {
    let one = |partition| async move {
        if let Ok(sequence) = app.nats.log.last_of_partition(partition).await {
            app.progress.reached(projection.name(), Position { partition, sequence }, READ_PATIENCE).await;
        }
    };
    let _ = timeout(READ_PATIENCE, join_all((0..app.nats.log.partitions()).map(one))).await;
}

/// Waits for what happened at `position`.
pub(crate) async fn of_position(app: &App, projection: Projection, position: Position) {
    app.progress.reached(projection.name(), position, READ_PATIENCE).await;
}

/// Waits until a change of configuration is in force, so that whoever is answered can use what they made. When the
/// projection is far behind, the change is answered all the same: it stands in the log and needs no repetition.
pub(crate) async fn of_change(app: &App, position: Position) {
    if !app.progress.reached(Projection::Configuration.name(), position, WRITE_PATIENCE).await {
        tracing::warn!(%position, "a change of configuration was answered before it is in force");
    }
    app.forget_configuration();
}
