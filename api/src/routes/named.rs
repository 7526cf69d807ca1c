//! Things of a tenant with a name that no other has: what the events of all of them, one history, come to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{EventId, Payload, Recorded};

use crate::problem::{Code, Problem};

/// A kind of thing.
pub(crate) trait Kind {
    type Id: Copy + Ord;
    type Settings: Clone;
    /// Singular and plural.
    const WORDS: (&str, &str);
    /// Of one tenant at most.
    const MOST: usize;

    fn name(settings: &Self::Settings) -> &str;
    /// What an event does; `None`: nothing to a thing of this kind.
    fn change(payload: &Payload) -> Option<Change<'_, Self>>;
}

pub(crate) enum Change<'a, K: Kind + ?Sized> {
    Created(K::Id, &'a K::Settings),
    Updated(K::Id, &'a K::Settings),
    Deleted(K::Id),
}

/// All things of the kind that are not deleted.
pub(crate) struct All<K: Kind>(BTreeMap<K::Id, Thing<K>>);

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
    pub(crate) fn of(events: &[Recorded]) -> Self {
        let mut all: BTreeMap<K::Id, Thing<K>> = BTreeMap::new();
        for recorded in events {
            let (time, sequence) = (recorded.event.envelope.time, recorded.position.sequence);
            match K::change(&recorded.event.payload) {
                Some(Change::Created(id, settings)) => {
                    all.insert(id, Thing { sequence, ..Thing::new(time, settings.clone()) });
                }
                Some(Change::Updated(id, settings)) => {
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
    pub(crate) fn find(&self, id: K::Id) -> Result<&Thing<K>, Problem> {
        self.0.get(&id).ok_or_else(unknown::<K>)
    }

    /// # Errors
    /// `limit_reached` when there cannot be one more.
    pub(crate) fn check_room(&self) -> Result<(), Problem> {
        if self.0.len() < K::MOST {
            return Ok(());
        }
        let (most, (_, things)) = (K::MOST, K::WORDS);
        Err(Problem::new(Code::LimitReached, format_args!("a tenant has at most {most} {things}")))
    }

    /// # Errors
    /// `name_taken` when a thing other than `own` has the name.
    pub(crate) fn check_name(&self, settings: &K::Settings, own: Option<K::Id>) -> Result<(), Problem> {
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
    pub(crate) fn new(at: DateTime<Utc>, settings: K::Settings) -> Self {
        Self { version: 1, created_at: at, updated_at: at, settings, sequence: 0 }
    }

    pub(crate) fn change(&mut self, at: DateTime<Utc>, settings: K::Settings) {
        self.version += 1;
        self.updated_at = at;
        self.settings = settings;
    }
}

/// The thing that the event of this id made, as it was then.
pub(crate) fn created<K: Kind>(events: &[Recorded], event_id: EventId) -> Option<Thing<K>> {
    let made = events.iter().position(|recorded| recorded.event.envelope.id == event_id)?;
    All::<K>::of(&events[made..=made]).0.into_values().next()
}

pub(crate) fn unknown<K: Kind>() -> Problem {
    Problem::not_found(K::WORDS.0)
}
