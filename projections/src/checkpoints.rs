//! How far the projections of a partition are, and whether anybody moves them.

use std::time::Duration;

use tokio::time::sleep;

use crate::column::{big, count};
use crate::database::{Database, Error};
use crate::projection::Projection;
use crate::source::EntrySource;

/// A runner that stands by looks this often whether the other one still moves.
const STANDBY_LOOK: Duration = Duration::from_millis(500);
/// As many looks without any movement, and a projection behind: then nobody is at work on it either.
const STALLED_LOOKS: u32 = 180;

/// How far each projection is. Makes the checkpoints that do not exist yet.
pub(crate) async fn checkpoints(
    database: &Database,
    partition: u16,
) -> Result<Vec<(Projection, u64)>, Error> {
    let rows = sqlx::query!(
        "select projection, sequence from checkpoints where partition = $1 order by projection",
        i32::from(partition)
    )
    .fetch_all(database.app())
    .await?;
    let known: Vec<(Projection, u64)> = rows
        .into_iter()
        .filter_map(|row| Some((Projection::from_name(&row.projection)?, count(row.sequence))))
        .collect();
    if known.len() == Projection::ALL.len() {
        return Ok(known);
    }
    let names = Projection::ALL.map(|projection| projection.name().to_owned());
    let rows = sqlx::query!(
        "with made as (
            insert into checkpoints (projection, partition, sequence) select unnest($1::text[]), $2, $3
            on conflict on constraint checkpoints_pkey do nothing
         ) select projection, sequence from checkpoints where partition = $2",
        &names[..],
        i32::from(partition),
        big(0_u64),
    )
    .fetch_all(&mut database.projector().await?)
    .await?;
    let sequence_of = |projection: Projection| {
        rows.iter().find(|row| row.projection == projection.name()).map_or(0, |row| count(row.sequence))
    };
    Ok(Projection::ALL.map(|projection| (projection, sequence_of(projection))).to_vec())
}

/// Waits until the runner that holds the partition has stopped moving although there is work.
pub(crate) async fn stand_by(database: &Database, source: &dyn EntrySource, partition: u16) {
    let mut seen = None;
    let mut behind = false;
    let mut looks = 0;
    loop {
        sleep(STANDBY_LOOK).await;
        let Ok(now) = checkpoints(database, partition).await else { continue };
        let Ok(last) = source.last_sequence(partition).await else { continue };
        looks = if seen.as_ref() == Some(&now) { looks + 1 } else { 0 };
        // It was behind at the last look and has not moved since: it had half a second for what was there already.
        if looks > 0 && behind {
            return;
        }
        behind = now.iter().all(|(_, sequence)| *sequence < last);
        if looks >= STALLED_LOOKS && now.iter().any(|(_, sequence)| *sequence < last) {
            return;
        }
        seen = Some(now);
    }
}
