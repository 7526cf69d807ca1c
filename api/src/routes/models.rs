//! The language models that agents can be given.

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::auth::Viewer;
use crate::config::Model;
use crate::extract::QueryOf;
use crate::openapi::problems;
use crate::page::page_of;
use crate::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_models))
}

/// The operator names the models in a file, so there are few and no pages.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ModelsQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelAnswer {
    /// What an agent's `llm_model` says.
    #[schema(example = "vendor-a-1")]
    id: String,
    #[schema(example = "vendor_a")]
    provider: String,
    /// Whether the vendor is asked for this one when an agent names none.
    is_default: bool,
    /// `null`: no price is set; what it does is recorded at no cost, as `unpriced`.
    price: Option<PriceAnswer>,
    /// Tokens that the model can take in and answer at once, as configured. A longer conversation is summarised.
    #[schema(example = 128_000)]
    context_tokens: u64,
    /// What an agent can use it for.
    #[schema(example = json!(["chat", "streaming", "tools"]))]
    capabilities: [&'static str; 3],
}

/// USD per million tokens.
#[derive(Debug, Serialize, ToSchema)]
struct PriceAnswer {
    #[schema(value_type = String, example = "2")]
    usd_per_million_in: Decimal,
    #[schema(value_type = String, example = "2")]
    usd_per_million_out: Decimal,
}

/// Every wire format that we speak can do all of them.
const CAPABILITIES: [&str; 3] = ["chat", "streaming", "tools"];

impl From<&Model> for ModelAnswer {
    fn from(model: &Model) -> Self {
        let price = model.price.map(|(per_million_in, per_million_out)| PriceAnswer {
            usd_per_million_in: per_million_in.normalize(),
            usd_per_million_out: per_million_out.normalize(),
        });
        Self {
            id: model.name.clone(),
            provider: model.provider.clone(),
            is_default: model.is_default,
            price,
            context_tokens: model.context_tokens,
            capabilities: CAPABILITIES,
        }
    }
}

/// List the models
///
/// The default models of all configured vendors, and all others that have a price. A vendor whose key is set takes other
/// names too. Role: viewer.
#[utoipa::path(
    get, path = "/api/models", tag = "Agents", operation_id = "list_models", params(ModelsQuery),
    responses((status = 200, description = "The models", body = Vec<ModelAnswer>), problems::Reading)
)]
async fn list_models(
    State(app): State<App>,
    _: Viewer,
    QueryOf(query): QueryOf<ModelsQuery>,
) -> Result<Json<Vec<ModelAnswer>>, Problem> {
    let limit = usize::try_from(page_of(query.limit, None)?.limit).unwrap_or_default();
    Ok(Json(app.config.language_models.named.iter().take(limit).map(ModelAnswer::from).collect()))
}
