//! Messages that are spoken outside of calls: a recording comes in, the spoken reply can be fetched.
//!
//! [`upload`] takes files in, [`accept`] makes the promise and [`wait`] waits for what was promised, for the POST and
//! for the socket alike; [`answer`] is what either is told.

pub(crate) mod accept;
pub(crate) mod answer;
pub(crate) mod audio;
mod get_audio;
mod post_voice_message;
pub(crate) mod upload;
pub(crate) mod wait;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(post_voice_message::post_voice_message))
        .routes(routes!(get_audio::get_spoken_reply))
}
