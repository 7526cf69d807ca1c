//! Twilio's webhooks. They are signed with the account's token; what they are answered is spoken on the call.

mod incoming;
mod signed;
mod status;

use utoipa_axum::router::OpenApiRouter;

use crate::App;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(incoming::router()).merge(status::router())
}
