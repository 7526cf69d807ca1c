//! The language models' vendors: what the environment says of each, and what follows from it for the rest.

use std::collections::BTreeMap;

use domain::{Price, PriceBook};
use rust_decimal::Decimal;
use secrecy::SecretString;
use vendors::llm::{LlmWire, VENDOR_A, VENDOR_B};

use crate::price_list;
use crate::settings::{Reader, price, some_text, url_of};

/// A vendor that a key of its own switches on.
struct Known {
    provider: &'static str,
    wire: LlmWire,
    /// Variables: the key, the address, the model when an agent names none.
    key: &'static str,
    base_url: &'static str,
    default_model: &'static str,
    /// Where the vendor is when its variable says nothing; `None`: the address is what switches it on.
    usual_base_url: Option<&'static str>,
    /// A model whose name begins like this is the vendor's, where no vendor is named.
    model_prefixes: &'static [&'static str],
}

const KNOWN: [Known; 6] = [
    Known {
        provider: "openai",
        wire: LlmWire::OpenAi,
        key: "OPENAI_API_KEY",
        base_url: "OPENAI_BASE_URL",
        default_model: "OPENAI_DEFAULT_MODEL",
        usual_base_url: Some("https://api.openai.com/v1"),
        model_prefixes: &["gpt-"],
    },
    Known {
        provider: "anthropic",
        wire: LlmWire::Anthropic,
        key: "ANTHROPIC_API_KEY",
        base_url: "ANTHROPIC_BASE_URL",
        default_model: "ANTHROPIC_DEFAULT_MODEL",
        usual_base_url: Some("https://api.anthropic.com"),
        model_prefixes: &["claude-"],
    },
    Known {
        provider: "deepseek",
        wire: LlmWire::OpenAi,
        key: "DEEPSEEK_API_KEY",
        base_url: "DEEPSEEK_BASE_URL",
        default_model: "DEEPSEEK_DEFAULT_MODEL",
        usual_base_url: Some("https://api.deepseek.com"),
        model_prefixes: &["deepseek-"],
    },
    Known {
        provider: "google",
        wire: LlmWire::Gemini,
        key: "GOOGLE_API_KEY",
        base_url: "GOOGLE_BASE_URL",
        default_model: "GOOGLE_DEFAULT_MODEL",
        usual_base_url: Some("https://generativelanguage.googleapis.com"),
        model_prefixes: &["gemini-"],
    },
    Known {
        provider: "groq",
        wire: LlmWire::OpenAi,
        key: "GROQ_API_KEY",
        base_url: "GROQ_BASE_URL",
        default_model: "GROQ_DEFAULT_MODEL",
        usual_base_url: Some("https://api.groq.com/openai/v1"),
        model_prefixes: &["llama-", "mixtral-"],
    },
    Known {
        provider: "openai_compatible",
        wire: LlmWire::OpenAi,
        key: "OPENAI_COMPATIBLE_API_KEY",
        base_url: "OPENAI_COMPATIBLE_BASE_URL",
        default_model: "OPENAI_COMPATIBLE_DEFAULT_MODEL",
        usual_base_url: None,
        model_prefixes: &[],
    },
];

/// The language models of this installation.
#[derive(Clone, Debug)]
pub struct LanguageModels {
    /// USD per 1,000 tokens in and out.
    vendor_a_price: Decimal,
    vendor_b_price: Decimal,
    /// `None`: the simulated vendor.
    pub vendor_a_base_url: Option<String>,
    pub vendor_b_base_url: Option<String>,
    /// Beside the two that are built in.
    pub keyed: Vec<KeyedVendor>,
    /// Vendors that we know and have no key for.
    pub absent: Vec<AbsentVendor>,
    price_list: Option<price_list::PriceList>,
}

/// A vendor whose key is there.
#[derive(Clone, Debug)]
pub struct KeyedVendor {
    pub provider: &'static str,
    pub wire: LlmWire,
    pub base_url: String,
    pub api_key: SecretString,
    pub default_model: Option<String>,
    /// The variable that sets it.
    pub default_model_variable: &'static str,
    pub model_prefixes: &'static [&'static str],
}

/// A vendor whose variable is not set.
#[derive(Clone, Debug)]
pub struct AbsentVendor {
    pub provider: &'static str,
    /// What would switch it on.
    pub variable: &'static str,
    pub model_prefixes: &'static [&'static str],
}

impl LanguageModels {
    pub(crate) fn read_with(reader: &mut Reader<'_>) -> Self {
        let (mut keyed, mut absent) = (Vec::new(), Vec::new());
        for known in &KNOWN {
            let api_key = reader.optional(known.key, some_text);
            let base_url = reader.optional(known.base_url, url_of(&["http", "https"]));
            let default_model = reader.optional(known.default_model, some_text);
            let switched_on = match known.usual_base_url {
                Some(usual) => api_key.map(|key| (key, base_url.unwrap_or_else(|| usual.to_owned()))),
                // A server of one's own may want no key.
                None => base_url.map(|url| (api_key.unwrap_or_else(|| "none".to_owned()), url)),
            };
            let Known { provider, wire, model_prefixes, .. } = *known;
            match switched_on {
                Some((api_key, base_url)) => keyed.push(KeyedVendor {
                    provider,
                    wire,
                    base_url,
                    api_key: api_key.into(),
                    default_model,
                    default_model_variable: known.default_model,
                    model_prefixes,
                }),
                None => absent.push(AbsentVendor {
                    provider,
                    variable: if known.usual_base_url.is_some() { known.key } else { known.base_url },
                    model_prefixes,
                }),
            }
        }
        Self {
            vendor_a_price: reader.or("VENDOR_A_PRICE", Decimal::new(2, 3), price),
            vendor_b_price: reader.or("VENDOR_B_PRICE", Decimal::new(3, 3), price),
            vendor_a_base_url: reader.optional("VENDOR_A_BASE_URL", url_of(&["http", "https"])),
            vendor_b_base_url: reader.optional("VENDOR_B_BASE_URL", url_of(&["http", "https"])),
            keyed,
            absent,
            price_list: reader.optional("VOCALBRIDGE_PRICE_LIST", price_list::read),
        }
    }

    /// The price book these settings stand for. Its version names the prices, so that a changed setting is a new one.
    pub fn price_book(&self) -> PriceBook {
        let per_thousand = |provider: &str, price: Decimal| {
            let per_million = price * Decimal::ONE_THOUSAND;
            Price {
                provider: provider.to_owned(),
                model: None,
                per_million_in: per_million,
                per_million_out: per_million,
            }
        };
        let mut version = format!("settings:{}:{}", self.vendor_a_price, self.vendor_b_price);
        let mut prices =
            vec![per_thousand(VENDOR_A, self.vendor_a_price), per_thousand(VENDOR_B, self.vendor_b_price)];
        if let Some(list) = &self.price_list {
            version = format!("{version}:{}", list.version);
            prices.extend(list.prices.iter().cloned());
        }
        PriceBook { version, prices }
    }

    /// What the api has to know.
    pub fn for_api(&self) -> api::LanguageModels {
        let built_in =
            [(VENDOR_A, "vendor-a-"), (VENDOR_B, "vendor-b-")].map(|(name, prefix)| api::Provider {
                name: name.to_owned(),
                default_model: Some(format!("{prefix}1")),
                default_model_variable: None,
                model_prefixes: vec![prefix.to_owned()],
                takes_any_model: false,
            });
        let keyed = self.keyed.iter().map(|vendor| api::Provider {
            name: vendor.provider.to_owned(),
            default_model: vendor.default_model.clone(),
            default_model_variable: Some(vendor.default_model_variable.to_owned()),
            model_prefixes: owned(vendor.model_prefixes),
            takes_any_model: true,
        });
        let absent = self.absent.iter().map(|vendor| api::AbsentProvider {
            name: vendor.provider.to_owned(),
            variable: vendor.variable.to_owned(),
            model_prefixes: owned(vendor.model_prefixes),
        });
        let providers: Vec<_> = built_in.into_iter().chain(keyed).collect();
        let named = self.named(&providers);
        api::LanguageModels { providers, absent: absent.collect(), named }
    }

    /// The vendors' default models, then the others that have a price.
    fn named(&self, providers: &[api::Provider]) -> Vec<api::Model> {
        let book = self.price_book();
        let model = |provider: &str, name: &str, is_default| api::Model {
            provider: provider.to_owned(),
            name: name.to_owned(),
            is_default,
            price: book.price(provider, name).map(|price| (price.per_million_in, price.per_million_out)),
        };
        let mut named: Vec<_> = providers
            .iter()
            .filter_map(|provider| Some(model(&provider.name, provider.default_model.as_deref()?, true)))
            .collect();
        for price in &book.prices {
            if let Some(name) = &price.model
                && providers.iter().any(|provider| provider.name == price.provider)
                && !named.iter().any(|model| model.provider == price.provider && model.name == *name)
            {
                named.push(model(&price.provider, name, false));
            }
        }
        named
    }

    /// The model asked of a vendor when nobody names one, by vendor.
    pub fn default_models(&self) -> BTreeMap<String, String> {
        let default = |provider: api::Provider| Some((provider.name, provider.default_model?));
        self.for_api().providers.into_iter().filter_map(default).collect()
    }

    /// Which variable would switch a vendor on, by vendor.
    pub fn absent_by_variable(&self) -> BTreeMap<String, String> {
        let variable = |vendor: &AbsentVendor| (vendor.provider.to_owned(), vendor.variable.to_owned());
        self.absent.iter().map(variable).collect()
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
