//! What the events of all of a tenant's functions come to.

use events::function::{FunctionCreated, FunctionDeleted, FunctionSettings, FunctionUpdated};
use events::{Aggregate, FunctionId, Payload, TenantId};
use projections::configuration::custom_functions::FunctionRecord;

use crate::routes::named::{Change, Kind, Thing};
use crate::routes::secret_headers::SealedHeaders;

pub(super) enum CustomFunctions {}

pub(super) type Function = Thing<CustomFunctions>;

impl Kind for CustomFunctions {
    type Id = FunctionId;
    type Settings = FunctionSettings;
    const WORDS: (&str, &str) = ("function", "functions");
    const MOST: usize = 100;
    const CREATED: &str = "function.created";

    fn aggregate(tenant_id: TenantId) -> Aggregate {
        Aggregate::functions(tenant_id)
    }

    fn name(settings: &FunctionSettings) -> &str {
        &settings.name
    }

    fn headers(settings: &mut FunctionSettings) -> &mut SealedHeaders {
        &mut settings.headers
    }

    fn change(payload: &Payload) -> Option<Change<&FunctionSettings, Self>> {
        Some(match payload {
            Payload::FunctionCreated(made) => Change::Created(made.function_id, &made.settings),
            Payload::FunctionUpdated(changed) => {
                Change::Updated(changed.function_id, changed.version, &changed.settings)
            }
            Payload::FunctionDeleted(gone) => Change::Deleted(gone.function_id),
            _ => return None,
        })
    }

    fn payload(change: Change<FunctionSettings, Self>) -> Payload {
        match change {
            Change::Created(function_id, settings) => FunctionCreated { function_id, settings }.into(),
            Change::Updated(function_id, version, settings) => {
                FunctionUpdated { function_id, version, settings }.into()
            }
            Change::Deleted(function_id) => FunctionDeleted { function_id }.into(),
        }
    }
}

impl Function {
    pub(super) fn record(self, id: FunctionId) -> FunctionRecord {
        let Self { version, created_at, updated_at, settings, sequence } = self;
        FunctionRecord { id, version, settings, created_at, updated_at, sequence }
    }
}
