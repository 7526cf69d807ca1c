//! Small answers that several routes share.

use serde::Serialize;
use utoipa::ToSchema;

/// What a DELETE answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted {
    #[schema(example = true)]
    deleted: bool,
}

impl Deleted {
    pub(crate) const YES: Self = Self { deleted: true };
}
