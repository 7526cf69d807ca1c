//! What the events of all of a tenant's functions come to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::function::FunctionSettings;
use events::{EventId, FunctionId, Payload, Recorded};
use projections::configuration::custom_functions::FunctionRecord;

use crate::problem::{Code, Problem};

const MAX_FUNCTIONS: usize = 100;

/// All functions that are not deleted.
pub(super) struct Functions(BTreeMap<FunctionId, Function>);

#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) version: u32,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) settings: FunctionSettings,
    sequence: u64,
}

impl Functions {
    pub(super) fn of(events: &[Recorded]) -> Self {
        let mut functions: BTreeMap<FunctionId, Function> = BTreeMap::new();
        for recorded in events {
            let (time, sequence) = (recorded.event.envelope.time, recorded.position.sequence);
            match &recorded.event.payload {
                Payload::FunctionCreated(created) => {
                    let function = Function { sequence, ..Function::new(time, created.settings.clone()) };
                    functions.insert(created.function_id, function);
                }
                Payload::FunctionUpdated(updated) => {
                    if let Some(function) = functions.get_mut(&updated.function_id) {
                        function.change(time, updated.settings.clone());
                        function.sequence = sequence;
                    }
                }
                Payload::FunctionDeleted(deleted) => {
                    functions.remove(&deleted.function_id);
                }
                _ => {}
            }
        }
        Self(functions)
    }

    /// # Errors
    /// `not_found` when there is no such function, or none any more.
    pub(super) fn find(&self, function_id: FunctionId) -> Result<&Function, Problem> {
        self.0.get(&function_id).ok_or_else(unknown)
    }

    /// # Errors
    /// `limit_reached` when there cannot be one more.
    pub(super) fn check_room(&self) -> Result<(), Problem> {
        if self.0.len() < MAX_FUNCTIONS {
            return Ok(());
        }
        Err(Problem::new(Code::LimitReached, format_args!("a tenant has at most {MAX_FUNCTIONS} functions")))
    }

    /// # Errors
    /// `name_taken` when a function other than `own` has the name.
    pub(super) fn check_name(&self, name: &str, own: Option<FunctionId>) -> Result<(), Problem> {
        let is_taken = self.0.iter().any(|(id, function)| Some(*id) != own && function.settings.name == name);
        if !is_taken {
            return Ok(());
        }
        Err(Problem::new(Code::NameTaken, format_args!("there is a function {name} already")))
    }
}

impl Function {
    /// As it is made.
    pub(super) fn new(at: DateTime<Utc>, settings: FunctionSettings) -> Self {
        Self { version: 1, created_at: at, updated_at: at, settings, sequence: 0 }
    }

    pub(super) fn change(&mut self, at: DateTime<Utc>, settings: FunctionSettings) {
        self.version += 1;
        self.updated_at = at;
        self.settings = settings;
    }

    pub(super) fn record(self, id: FunctionId) -> FunctionRecord {
        let Self { version, created_at, updated_at, settings, sequence } = self;
        FunctionRecord { id, version, settings, created_at, updated_at, sequence }
    }
}

/// The function that the event of this id made, as it was then.
pub(super) fn created(events: &[Recorded], event_id: EventId) -> Option<Function> {
    let made = events.iter().position(|recorded| recorded.event.envelope.id == event_id)?;
    Functions::of(&events[made..=made]).0.into_values().next()
}

pub(super) fn unknown() -> Problem {
    Problem::not_found("function")
}
