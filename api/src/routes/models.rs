//! The language models that agents can be given.

use axum::Json;
use axum::extract::State;
use domain::PricesAt;
use events::prices::{Per, Price, PriceKind, Unit};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::auth::Viewer;
use crate::config::LanguageModels;
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
    /// Of what the vendor had kept from a request before; left out: as much as the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.5")]
    usd_per_million_cached_in: Option<Decimal>,
    #[schema(value_type = String, example = "2")]
    usd_per_million_out: Decimal,
}

/// Every wire format that we speak can do all of them.
const CAPABILITIES: [&str; 3] = ["chat", "streaming", "tools"];

/// The vendors' default models, then the others that have a price.
fn models(configured: &LanguageModels, prices: PricesAt<'_>) -> Vec<ModelAnswer> {
    let model = |provider: &str, name: &str, is_default| ModelAnswer {
        id: name.to_owned(),
        provider: provider.to_owned(),
        is_default,
        price: prices.price(PriceKind::Model, provider, name).map(|found| PriceAnswer::from(found.price)),
        context_tokens: configured.windows.of(provider, name).0,
        capabilities: CAPABILITIES,
    };
    let providers = &configured.providers;
    let defaults =
        providers.iter().filter_map(|provider| Some((provider, provider.default_model.as_deref()?)));
    let mut models: Vec<_> = defaults.map(|(provider, name)| model(&provider.name, name, true)).collect();
    for found in prices.all() {
        let Price { kind, provider, model: name, .. } = found.price;
        if let (PriceKind::Model, Some(name)) = (kind, name)
            && providers.iter().any(|configured| configured.name == *provider)
            && !models.iter().any(|known| known.provider == *provider && known.id == *name)
        {
            models.push(model(provider, name, false));
        }
    }
    models
}

impl From<&Price> for PriceAnswer {
    fn from(price: &Price) -> Self {
        let per_million = |unit| {
            let rate = price.rates.iter().find(|rate| rate.unit == unit)?;
            Some((rate.usd * Decimal::from(Per::Million.count() / rate.per.count())).normalize())
        };
        Self {
            usd_per_million_in: per_million(Unit::Input).unwrap_or_default(),
            usd_per_million_cached_in: per_million(Unit::CachedInput),
            usd_per_million_out: per_million(Unit::Output).unwrap_or_default(),
        }
    }
}

/// List the models
///
/// The default models of all configured vendors, and all others that have a price. Prices are those in force for the tenant. A vendor whose key is set takes other
/// names too. Role: viewer.
#[utoipa::path(
    get, path = "/api/models", tag = "Agents", operation_id = "list_models", params(ModelsQuery),
    responses((status = 200, description = "The models", body = Vec<ModelAnswer>), problems::Reading)
)]
async fn list_models(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<ModelsQuery>,
) -> Result<Json<Vec<ModelAnswer>>, Problem> {
    let limit = usize::try_from(page_of(query.limit, None)?.limit).unwrap_or_default();
    let book = app.prices.book(caller.tenant_id).await?;
    let mut models = models(&app.config.language_models, book.at(app.clock.now()));
    models.truncate(limit);
    Ok(Json(models))
}
