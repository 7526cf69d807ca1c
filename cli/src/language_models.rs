//! The language models' vendors: what the environment says of each, and what follows from it for the rest.

use std::collections::BTreeMap;

use domain::Windows;
use domain::context::ModelWindow;
use events::prices::{Per, Price, PriceKind, Rate, Unit};
use rust_decimal::Decimal;
use vendors::llm::{LlmWire, VENDOR_A, VENDOR_B};

use crate::settings::{Reader, price, some_text};
use crate::vendor_endpoints::{BaseUrl, Endpoint, api_keys, base_urls, pair};
use crate::{price_list, voice_prices};

/// A vendor that a key of its own switches on.
struct Known {
    provider: &'static str,
    wire: LlmWire,
    /// Variables: the keys, the addresses, the model when an agent names none.
    key: &'static str,
    base_url: &'static str,
    default_model: &'static str,
    /// Where the vendor is when its variable says nothing; `None`: the address is what switches it on.
    usual_base_url: Option<&'static str>,
    /// Where the simulated servers answer in its stead.
    simulated_path: &'static str,
    /// A model whose name begins like this is the vendor's, where no vendor is named.
    model_prefixes: &'static [&'static str],
    /// Tokens that a model of the vendor can take in and answer at once, where the price list does not say it: the
    /// smallest window among those that the vendor's own documents offered in 2025.
    context_tokens: u64,
}

/// The simulated vendors take in anything; this is what many real ones have.
const BUILT_IN_CONTEXT_TOKENS: u64 = 128_000;

const KNOWN: [Known; 6] = [
    Known {
        provider: "openai",
        wire: LlmWire::OpenAi,
        key: "OPENAI_API_KEY",
        base_url: "OPENAI_BASE_URL",
        default_model: "OPENAI_DEFAULT_MODEL",
        usual_base_url: Some("https://api.openai.com/v1"),
        simulated_path: "/openai/v1",
        model_prefixes: &["gpt-"],
        // platform.openai.com/docs/models: 128,000, newer ones more.
        context_tokens: 128_000,
    },
    Known {
        provider: "anthropic",
        wire: LlmWire::Anthropic,
        key: "ANTHROPIC_API_KEY",
        base_url: "ANTHROPIC_BASE_URL",
        default_model: "ANTHROPIC_DEFAULT_MODEL",
        usual_base_url: Some("https://api.anthropic.com"),
        simulated_path: "/anthropic",
        model_prefixes: &["claude-"],
        // platform.claude.com/docs/en/build-with-claude/context-windows: 200,000, newer ones more.
        context_tokens: 200_000,
    },
    Known {
        provider: "deepseek",
        wire: LlmWire::OpenAi,
        key: "DEEPSEEK_API_KEY",
        base_url: "DEEPSEEK_BASE_URL",
        default_model: "DEEPSEEK_DEFAULT_MODEL",
        usual_base_url: Some("https://api.deepseek.com"),
        simulated_path: "/deepseek",
        model_prefixes: &["deepseek-"],
        // api-docs.deepseek.com/quick_start/pricing-details-usd: 64K, newer ones more.
        context_tokens: 64_000,
    },
    Known {
        provider: "google",
        wire: LlmWire::Gemini,
        key: "GOOGLE_API_KEY",
        base_url: "GOOGLE_BASE_URL",
        default_model: "GOOGLE_DEFAULT_MODEL",
        usual_base_url: Some("https://generativelanguage.googleapis.com"),
        simulated_path: "/google",
        model_prefixes: &["gemini-"],
        // ai.google.dev/gemini-api/docs/tokens: about 1,000,000.
        context_tokens: 1_000_000,
    },
    Known {
        provider: "groq",
        wire: LlmWire::OpenAi,
        key: "GROQ_API_KEY",
        base_url: "GROQ_BASE_URL",
        default_model: "GROQ_DEFAULT_MODEL",
        usual_base_url: Some("https://api.groq.com/openai/v1"),
        simulated_path: "/groq/openai/v1",
        model_prefixes: &["llama-", "mixtral-"],
        // console.groq.com/docs/models: 131,072 for most, 32,768 for Mixtral.
        context_tokens: 32_768,
    },
    Known {
        provider: "openai_compatible",
        wire: LlmWire::OpenAi,
        key: "OPENAI_COMPATIBLE_API_KEY",
        base_url: "OPENAI_COMPATIBLE_BASE_URL",
        default_model: "OPENAI_COMPATIBLE_DEFAULT_MODEL",
        usual_base_url: None,
        simulated_path: "/openai/v1",
        model_prefixes: &[],
        // Nobody knows what is behind it. Ollama, for one, gives 4,096 and silently drops what is beyond.
        context_tokens: Windows::UNKNOWN.0,
    },
];

/// The language models of this installation.
#[derive(Clone, Debug)]
pub struct LanguageModels {
    /// USD per 1,000 tokens in and out.
    vendor_a_price: Decimal,
    vendor_b_price: Decimal,
    /// Those that can be asked, the default of new agents first.
    pub vendors: Vec<Vendor>,
    /// Those that we know and that are not switched on.
    absent: Vec<AbsentVendor>,
    price_list: Option<price_list::PriceFile>,
}

/// A vendor that can be asked.
#[derive(Clone, Debug)]
pub struct Vendor {
    pub provider: &'static str,
    pub wire: LlmWire,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    default_model: Option<String>,
    /// The variable that sets it, if there is one.
    default_model_variable: Option<&'static str>,
    model_prefixes: &'static [&'static str],
    takes_any_model: bool,
}

/// A vendor whose variable is not set.
#[derive(Clone, Debug)]
struct AbsentVendor {
    provider: &'static str,
    /// What would switch it on.
    variable: &'static str,
    model_prefixes: &'static [&'static str],
}

impl LanguageModels {
    pub(crate) fn read_with(reader: &mut Reader<'_>) -> Self {
        let mut vendors = vec![
            Vendor::built_in(reader, VENDOR_A, LlmWire::VendorA, "/vendor_a", &["vendor-a-"]),
            Vendor::built_in(reader, VENDOR_B, LlmWire::VendorB, "/vendor_b", &["vendor-b-"]),
        ];
        let mut absent = Vec::new();
        for known in &KNOWN {
            match Vendor::keyed(reader, known) {
                Some(vendor) => vendors.push(vendor),
                None => absent.push(AbsentVendor {
                    provider: known.provider,
                    variable: if known.usual_base_url.is_some() { known.key } else { known.base_url },
                    model_prefixes: known.model_prefixes,
                }),
            }
        }
        Self {
            vendor_a_price: reader.or("VENDOR_A_PRICE", Decimal::new(2, 3), price),
            vendor_b_price: reader.or("VENDOR_B_PRICE", Decimal::new(3, 3), price),
            vendors,
            absent,
            price_list: reader.optional("VOCALBRIDGE_PRICE_LIST", price_list::read),
        }
    }

    /// Whether any of them is simulated.
    pub fn need_a_simulator(&self) -> bool {
        let mut endpoints = self.vendors.iter().flat_map(|vendor| &vendor.endpoints);
        endpoints.any(|endpoint| matches!(endpoint.base_url, BaseUrl::Simulated(_)))
    }

    /// The prices these settings stand for; of several for the same the first: the variables', the file's, the usual.
    pub fn prices(&self) -> Vec<Price> {
        let per_thousand = |provider: &str, usd: Decimal| {
            let rate = |unit| Rate { unit, usd, per: Per::Thousand };
            let rates = vec![rate(Unit::Input), rate(Unit::Output)];
            Price { kind: PriceKind::Model, provider: provider.to_owned(), model: None, rates }
        };
        let mut prices: Vec<Price> =
            vec![per_thousand(VENDOR_A, self.vendor_a_price), per_thousand(VENDOR_B, self.vendor_b_price)];
        let listed = self.price_list.iter().flat_map(|list| list.prices.iter().cloned());
        for price in listed.chain(voice_prices::usual()) {
            let same = |other: &Price| {
                (other.kind, &other.provider, &other.model) == (price.kind, &price.provider, &price.model)
            };
            if !prices.iter().any(same) {
                prices.push(price);
            }
        }
        prices
    }

    /// How much of a conversation each model can be told: what the price list says goes before what is usual.
    pub fn windows(&self) -> Windows {
        let usual =
            |provider: &str, tokens| ModelWindow { provider: provider.to_owned(), model: None, tokens };
        let told = self.price_list.iter().flat_map(|list| list.windows.iter().cloned());
        let built_in = [VENDOR_A, VENDOR_B].map(|provider| usual(provider, BUILT_IN_CONTEXT_TOKENS));
        let known = KNOWN.iter().map(|known| usual(known.provider, known.context_tokens));
        Windows(told.chain(built_in).chain(known).collect())
    }

    /// What the api has to know.
    pub fn for_api(&self) -> api::LanguageModels {
        let provider = |vendor: &Vendor| api::Provider {
            name: vendor.provider.to_owned(),
            default_model: vendor.default_model.clone(),
            default_model_variable: vendor.default_model_variable.map(str::to_owned),
            model_prefixes: owned(vendor.model_prefixes),
            takes_any_model: vendor.takes_any_model,
        };
        let absent = |vendor: &AbsentVendor| api::AbsentProvider {
            name: vendor.provider.to_owned(),
            variable: vendor.variable.to_owned(),
            model_prefixes: owned(vendor.model_prefixes),
        };
        api::LanguageModels {
            providers: self.vendors.iter().map(provider).collect(),
            absent: self.absent.iter().map(absent).collect(),
            windows: self.windows(),
        }
    }

    /// The model asked of a vendor when nobody names one, by vendor.
    pub fn default_models(&self) -> BTreeMap<String, String> {
        let default = |vendor: &Vendor| Some((vendor.provider.to_owned(), vendor.default_model.clone()?));
        self.vendors.iter().filter_map(default).collect()
    }

    /// Which variable would switch a vendor on, by vendor.
    pub fn absent_by_variable(&self) -> BTreeMap<String, String> {
        let variable = |vendor: &AbsentVendor| (vendor.provider.to_owned(), vendor.variable.to_owned());
        self.absent.iter().map(variable).collect()
    }
}

impl Vendor {
    /// One that needs no key.
    fn built_in(
        reader: &mut Reader<'_>,
        provider: &'static str,
        wire: LlmWire,
        simulated_path: &'static str,
        model_prefixes: &'static [&'static str],
    ) -> Self {
        let variable = format!("{}_BASE_URL", provider.to_ascii_uppercase());
        let at_home = vec![BaseUrl::Simulated(simulated_path)];
        let urls = reader.or(&variable, at_home, base_urls(simulated_path));
        let endpoint = |base_url| Endpoint { base_url, api_key: "simulated".into() };
        Self {
            provider,
            wire,
            endpoints: urls.into_iter().map(endpoint).collect(),
            default_model: model_prefixes.first().map(|prefix| format!("{prefix}1")),
            default_model_variable: None,
            model_prefixes,
            takes_any_model: false,
        }
    }

    /// `None`: what switches it on is not set.
    fn keyed(reader: &mut Reader<'_>, known: &Known) -> Option<Self> {
        let keys = reader.optional(known.key, api_keys);
        let told = reader.optional(known.base_url, base_urls(known.simulated_path));
        let default_model = reader.optional(known.default_model, some_text);
        let (keys, urls) = match known.usual_base_url {
            Some(usual) => (keys?, told.unwrap_or_else(|| vec![BaseUrl::Url(usual.to_owned())])),
            // A server of one's own may want no key.
            None => (keys.unwrap_or_else(|| vec!["none".into()]), told?),
        };
        Some(Self {
            provider: known.provider,
            wire: known.wire,
            endpoints: pair(reader, (known.key, keys), (known.base_url, urls)),
            default_model,
            default_model_variable: Some(known.default_model),
            model_prefixes: known.model_prefixes,
            takes_any_model: true,
        })
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
