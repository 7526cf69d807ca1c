//! Messages: what a customer says, and the agent's answer.

pub(crate) mod post_message;
pub(crate) mod reply;
pub(crate) mod stream;
pub(crate) mod wait;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(post_message::post_message))
}
