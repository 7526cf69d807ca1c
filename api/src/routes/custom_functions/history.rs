//! What the events of all of a tenant's functions come to.

use events::function::FunctionSettings;
use events::{FunctionId, Payload};
use projections::configuration::custom_functions::FunctionRecord;

use crate::routes::named::{All, Change, Kind, Thing};

pub(super) enum CustomFunctions {}

/// All functions that are not deleted.
pub(super) type Functions = All<CustomFunctions>;
pub(super) type Function = Thing<CustomFunctions>;

impl Kind for CustomFunctions {
    type Id = FunctionId;
    type Settings = FunctionSettings;
    const WORDS: (&str, &str) = ("function", "functions");
    const MOST: usize = 100;

    fn name(settings: &FunctionSettings) -> &str {
        &settings.name
    }

    fn change(payload: &Payload) -> Option<Change<'_, Self>> {
        Some(match payload {
            Payload::FunctionCreated(made) => Change::Created(made.function_id, &made.settings),
            Payload::FunctionUpdated(changed) => Change::Updated(changed.function_id, &changed.settings),
            Payload::FunctionDeleted(gone) => Change::Deleted(gone.function_id),
            _ => return None,
        })
    }
}

impl Function {
    pub(super) fn record(self, id: FunctionId) -> FunctionRecord {
        let Self { version, created_at, updated_at, settings, sequence } = self;
        FunctionRecord { id, version, settings, created_at, updated_at, sequence }
    }
}
