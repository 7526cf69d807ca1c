//! A tenant's phone numbers, and its own accounts with carriers.

mod account;
mod history;
mod numbers;

use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(numbers::router()).merge(account::router())
}
