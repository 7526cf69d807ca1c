//! Things of a tenant with a name that no other has, and secret headers: what the events of all of them, one history,
//! come to, and how they change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{Aggregate, Event, EventId, Payload, Recorded, TenantId};
use uuid::Uuid;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Caller;
use crate::idempotency::Once;
use crate::problem::{Code, Problem};
use crate::routes::secret_headers::{self, SealedHeaders, SentHeaders};
use crate::{App, freshness};

/// A kind of thing.
pub(crate) trait Kind {
    type Id: Copy + Ord + From<Uuid>;
    type Settings: Clone + PartialEq;
    /// Singular and plural.
    const WORDS: (&str, &str);
    /// Of one tenant at most.
    const MOST: usize;
    /// What the id of the event that makes one is derived from; it must never change.
    const CREATED: &str;

    /// The one history of the tenant's things.
    fn aggregate(tenant_id: TenantId) -> Aggregate;
    fn name(settings: &Self::Settings) -> &str;
    fn headers(settings: &mut Self::Settings) -> &mut SealedHeaders;
    /// What an event does; `None`: nothing to a thing of this kind.
    fn change(payload: &Payload) -> Option<Change<&Self::Settings, Self>>;
    /// The event that does it.
    fn payload(change: Change<Self::Settings, Self>) -> Payload;
}

pub(crate) enum Change<S, K: Kind + ?Sized> {
    Created(K::Id, S),
    /// With the version that it becomes.
    Updated(K::Id, u32, S),
    Deleted(K::Id),
}

/// All things of the kind that are not deleted.
struct All<K: Kind>(BTreeMap<K::Id, Thing<K>>);

pub(crate) struct Thing<K: Kind> {
    pub(crate) version: u32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) settings: K::Settings,
    /// Of its newest event; 0 when that is not appended yet.
    pub(crate) sequence: u64,
}

impl<K: Kind> Clone for Thing<K> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone(), ..*self }
    }
}

impl<K: Kind> All<K> {
    fn of(events: &[Recorded]) -> Self {
        let mut all: BTreeMap<K::Id, Thing<K>> = BTreeMap::new();
        for recorded in events {
            let (time, sequence) = (recorded.event.envelope.time, recorded.position.sequence);
            match K::change(&recorded.event.payload) {
                Some(Change::Created(id, settings)) => {
                    all.insert(id, Thing { sequence, ..Thing::new(time, settings.clone()) });
                }
                Some(Change::Updated(id, _, settings)) => {
                    if let Some(thing) = all.get_mut(&id) {
                        thing.change(time, settings.clone());
                        thing.sequence = sequence;
                    }
                }
                Some(Change::Deleted(id)) => {
                    all.remove(&id);
                }
                None => {}
            }
        }
        Self(all)
    }

    /// # Errors
    /// `not_found` when there is no such thing, or none any more.
    fn find(&self, id: K::Id) -> Result<&Thing<K>, Problem> {
        self.0.get(&id).ok_or_else(unknown::<K>)
    }

    /// # Errors
    /// `limit_reached` when there cannot be one more.
    fn check_room(&self) -> Result<(), Problem> {
        if self.0.len() < K::MOST {
            return Ok(());
        }
        let (most, (_, things)) = (K::MOST, K::WORDS);
        Err(Problem::new(Code::LimitReached, format_args!("a tenant has at most {most} {things}")))
    }

    /// # Errors
    /// `name_taken` when a thing other than `own` has the name.
    fn check_name(&self, settings: &K::Settings, own: Option<K::Id>) -> Result<(), Problem> {
        let name = K::name(settings);
        let is_taken = self.0.iter().any(|(id, thing)| Some(*id) != own && K::name(&thing.settings) == name);
        if !is_taken {
            return Ok(());
        }
        Err(Problem::new(Code::NameTaken, format_args!("there is a {} {name} already", K::WORDS.0)))
    }
}

impl<K: Kind> Thing<K> {
    /// As it is made.
    fn new(at: DateTime<Utc>, settings: K::Settings) -> Self {
        Self { version: 1, created_at: at, updated_at: at, settings, sequence: 0 }
    }

    fn change(&mut self, at: DateTime<Utc>, settings: K::Settings) {
        self.version += 1;
        self.updated_at = at;
        self.settings = settings;
    }
}

/// The thing that the event of this id made, as it was then.
fn created<K: Kind>(events: &[Recorded], event_id: EventId) -> Option<Thing<K>> {
    let made = events.iter().position(|recorded| recorded.event.envelope.id == event_id)?;
    All::<K>::of(&events[made..=made]).0.into_values().next()
}

/// Makes one with these settings and the headers that were `sent`. Repeated, the same request answers what it made, as it
/// was then.
///
/// # Errors
/// `limit_reached`, `name_taken`.
pub(crate) async fn create<K: Kind>(
    app: &App,
    caller: &Caller,
    once: &Once,
    mut settings: K::Settings,
    sent: &SentHeaders,
) -> Result<(K::Id, Thing<K>), Problem> {
    let (id, event_id): (K::Id, EventId) = (once.id(), once.derived(K::CREATED));
    *K::headers(&mut settings) = secret_headers::sealed(app, caller.tenant_id, event_id, sent).await?;
    let aggregate = K::aggregate(caller.tenant_id);
    let (position, thing) = append::update(app, aggregate, |history| {
        if let Some(made) = created(history, event_id) {
            return Ok(Decision::Nothing(made));
        }
        let all = All::<K>::of(history);
        all.check_room()?;
        all.check_name(&settings, None)?;
        let created = K::payload(Change::Created(id, settings.clone()));
        let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), created);
        Ok(Decision::Append(Box::new(event), Thing::new(once.at, settings.clone())))
    })
    .await?;
    freshness::of_change(app, position).await;
    Ok((id, thing))
}

/// Puts the settings in force that `next` makes of the present ones, with the headers that were `sent`; settings that are
/// the present ones change nothing.
///
/// # Errors
/// `not_found`, `name_taken`.
pub(crate) async fn update<K: Kind>(
    app: &App,
    caller: &Caller,
    id: K::Id,
    sent: &SentHeaders,
    next: impl Fn(&K::Settings) -> Result<K::Settings, Problem>,
) -> Result<Thing<K>, Problem> {
    let aggregate = K::aggregate(caller.tenant_id);
    let event_id = EventId::new();
    let headers = secret_headers::sealed(app, caller.tenant_id, event_id, sent).await?;
    let (position, thing) = append::update(app, aggregate, |history| {
        let all = All::<K>::of(history);
        let mut thing = all.find(id)?.clone();
        let mut settings = next(&thing.settings)?;
        K::headers(&mut settings).extend(headers.clone());
        if settings == thing.settings {
            return Ok(Decision::Nothing(thing));
        }
        all.check_name(&settings, Some(id))?;
        thing.change(app.clock.now(), settings);
        let updated = K::payload(Change::Updated(id, thing.version, thing.settings.clone()));
        let event = Event::new(event_id, thing.updated_at, SOURCE, aggregate, &caller.cause(), updated);
        Ok(Decision::Append(Box::new(event), thing))
    })
    .await?;
    freshness::of_change(app, position).await;
    Ok(thing)
}

/// # Errors
/// `not_found`.
pub(crate) async fn delete<K: Kind>(app: &App, caller: &Caller, id: K::Id) -> Result<(), Problem> {
    let aggregate = K::aggregate(caller.tenant_id);
    let event_id = EventId::new();
    let (position, ()) = append::update(app, aggregate, |history| {
        All::<K>::of(history).find(id)?;
        let deleted = K::payload(Change::Deleted(id));
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), deleted);
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(app, position).await;
    Ok(())
}

pub(crate) fn unknown<K: Kind>() -> Problem {
    Problem::not_found(K::WORDS.0)
}
