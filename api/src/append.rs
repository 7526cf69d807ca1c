//! Changes are events: appending them so that the same request, repeated, happens once.

use events::{Aggregate, Event, Position, Recorded};
use nats::{AppendError, Expect};

use crate::App;
use crate::problem::{Code, Problem};

/// How often an update is decided again when somebody else was faster. Each lost race is somebody's success, so this many
/// can change one thing at once.
const ATTEMPTS: u32 = 32;

/// Appends the first event of an aggregate and answers the event that stands. When the very same creation came first
/// (the same event id, of a repeated request), that one stands and is answered.
pub(crate) async fn create(app: &App, event: Event, replayed: bool) -> Result<Recorded, Problem> {
    let aggregate = event.envelope.aggregate;
    let position = match app.nats.log.append(&event, Expect::Last(0)).await {
        Ok(position) if !replayed => return Ok(Recorded { position, event }),
        Ok(position) => Some(position),
        Err(AppendError::Conflict { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    match (app.nats.log.first(&aggregate).await?, position) {
        (Some(first), _) if first.event.envelope.id == event.envelope.id => Ok(first),
        // Just acknowledged and not to be read yet: a replica may be a moment behind.
        (None, Some(position)) => Ok(Recorded { position, event }),
        _ => Err(Problem::new(Code::Conflict, format_args!("{aggregate} exists already"))),
    }
}

/// What an update decided to do with the aggregate's history.
pub(crate) enum Decision<T> {
    /// Append this; `T` is the answer.
    Append(Box<Event>, T),
    /// Nothing is to be done; `T` is the answer.
    Nothing(T),
}

/// Reads the aggregate, decides, and appends by compare-and-set; decides again when somebody else was faster.
/// Answers the position up to which the reader must have come to see the outcome.
pub(crate) async fn update<T>(
    app: &App,
    aggregate: Aggregate,
    decide: impl Fn(&[Recorded]) -> Result<Decision<T>, Problem>,
) -> Result<(Position, T), Problem> {
    for _ in 0..ATTEMPTS {
        let history = app.nats.log.read(&aggregate, 0).await?;
        let last = history
            .last()
            .map_or(Position { partition: app.nats.log.partition_of(&aggregate), sequence: 0 }, |recorded| {
                recorded.position
            });
        let (event, answer) = match decide(&history)? {
            Decision::Nothing(answer) => return Ok((last, answer)),
            Decision::Append(event, answer) => (event, answer),
        };
        match app.nats.log.append(&event, Expect::Last(last.sequence)).await {
            Ok(position) => return Ok((position, answer)),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::new(Code::Conflict, "others keep changing it; load it again and try once more"))
}
