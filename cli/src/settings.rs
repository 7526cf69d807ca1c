//! Settings from the environment (and `.env`): every one checked at start, all mistakes told at once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use api::{SocketLimits, Telephony, TwilioAccount};
use base64::Engine;
use domain::prices::{COST_SCALE, check};
use domain::webhooks::Schedule;
use events::TenantId;
use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use vendors::http::guard::UrlPolicy;
use workers::DEFAULT_LIMITS;

use crate::language_models::LanguageModels;
use crate::speech::SpeechSettings;

/// Everything the environment can say, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub database_url: SecretString,
    pub database_connections: u32,
    pub nats_url: String,
    /// Partitions and replicas of the event streams; the partitions count only when the streams are first made.
    pub nats_partitions: u16,
    pub nats_replicas: usize,
    pub port: u16,
    /// Where a process without the api tells how it is; `None`: nowhere.
    pub monitoring_port: Option<u16>,
    pub operator_key: SecretString,
    pub secret_key: SecretString,
    /// `None`: `http://localhost:<port>`.
    pub app_url: Option<String>,
    pub cors_origins: Vec<String>,
    /// Which URLs tenants may give.
    pub urls: UrlPolicy,
    /// The middle part of new API keys.
    pub environment: String,
    /// How long room counts as taken for work that is not accepted yet.
    pub reservation_lease: Duration,
    /// Whether threads that move voice may run ahead of all others.
    pub realtime: bool,
    /// Turns (or tool calls) that one worker process runs at once, and of one tenant at most.
    pub worker_max_running: usize,
    pub worker_max_running_per_tenant: usize,
    /// Finished jobs are listed for so long.
    pub job_retention_days: u32,
    /// How long a month that is over stays open for what is late.
    pub invoice_grace_hours: u32,
    /// How often a model may ask for tools in one turn.
    pub max_tool_rounds: u32,
    /// When a webhook that failed is tried again.
    pub webhook_schedule: Schedule,
    pub sockets: SocketLimits,
    pub telephony: Telephony,
    pub vendors: VendorSettings,
}

/// How patient we are with vendors, and who they are.
#[derive(Clone, Debug)]
pub struct VendorSettings {
    pub timeout: Duration,
    /// Of a stream: to its first word, and between two.
    pub first_token_timeout: Duration,
    pub stall_timeout: Duration,
    pub max_retries: u32,
    pub retry_min_wait: Duration,
    pub retry_max_wait: Duration,
    pub language_models: LanguageModels,
    pub speech: SpeechSettings,
}

/// All that is wrong with the environment.
#[derive(Debug)]
pub struct SettingsError(Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for SettingsError {}

/// Where values come from: the environment, or a map in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment. An empty variable counts as unset.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl Settings {
    /// # Errors
    /// Every missing or unusable variable, by name.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, mistakes: Vec::new() };
        let settings = Self {
            database_url: reader.required("DATABASE_URL", url_of(&["postgres", "postgresql"])).into(),
            database_connections: reader.or("DATABASE_MAX_CONNECTIONS", 10, in_range(2, 200)),
            nats_url: reader.required("NATS_URL", url_of(&["nats", "tls"])),
            nats_partitions: reader.or("NATS_PARTITIONS", 1, in_range(1, 99)),
            nats_replicas: reader.or("NATS_REPLICAS", 1, in_range(1, 5)),
            port: reader.or("VOCALBRIDGE_PORT", DEFAULT_PORT, in_range(0, u16::MAX)),
            monitoring_port: reader.optional("VOCALBRIDGE_MONITORING_PORT", in_range(1, u16::MAX)),
            operator_key: reader.required("VOCALBRIDGE_OPERATOR_KEY", at_least(16)).into(),
            secret_key: reader.required("VOCALBRIDGE_SECRET_KEY", secret_key).into(),
            app_url: reader.optional("APP_URL", url_of(&["http", "https"])),
            cors_origins: reader.or("CORS_ORIGINS", Vec::new(), list),
            urls: UrlPolicy { allow_private: reader.or("VOCALBRIDGE_ALLOW_PRIVATE_URLS", false, yes_or_no) },
            environment: reader.or("VOCALBRIDGE_ENVIRONMENT", "live".to_owned(), word),
            worker_max_running: reader.or("WORKER_MAX_RUNNING", DEFAULT_LIMITS.running, in_range(1, 100_000)),
            worker_max_running_per_tenant: reader.or(
                "WORKER_MAX_RUNNING_PER_TENANT",
                DEFAULT_LIMITS.running_per_tenant,
                in_range(1, 100_000),
            ),
            job_retention_days: reader.or("JOB_RETENTION_DAYS", 30, in_range(1, 3_650)),
            realtime: reader.or("VOCALBRIDGE_REALTIME", true, yes_or_no),
            reservation_lease: Duration::from_secs(reader.or(
                "VOCALBRIDGE_RESERVATION_LEASE_SECONDS",
                60,
                in_range(1, 3_600),
            )),
            invoice_grace_hours: reader.or("INVOICE_GRACE_HOURS", 24, in_range(1, 720)),
            max_tool_rounds: reader.or("MAX_TOOL_ROUNDS", workers::DEFAULT_MAX_TOOL_ROUNDS, in_range(0, 64)),
            webhook_schedule: reader.or("WEBHOOK_RETRY_SECONDS", Schedule::default(), schedule),
            sockets: sockets(&mut reader),
            telephony: telephony(&mut reader),
            vendors: VendorSettings::read_with(&mut reader),
        };
        let wait = &settings.vendors;
        if wait.retry_min_wait > wait.retry_max_wait {
            reader.mistakes.push("VENDOR_RETRY_MIN_WAIT must not be above VENDOR_RETRY_MAX_WAIT".to_owned());
        }
        if reader.mistakes.is_empty() { Ok(settings) } else { Err(SettingsError(reader.mistakes)) }
    }
}

fn sockets(reader: &mut Reader<'_>) -> SocketLimits {
    let default = SocketLimits::default();
    SocketLimits {
        max_calls: reader.or("MAX_CONCURRENT_CALLS", default.max_calls, in_range(0, 100_000)),
        max_pipelines: reader.or("MAX_CONCURRENT_PIPELINES", default.max_pipelines, in_range(0, 10_000)),
        call: reader.or("MAX_CALL_SECONDS", default.call, seconds(1.0, 86_400.0)),
        ..default
    }
}

fn telephony(reader: &mut Reader<'_>) -> Telephony {
    let account_sid = reader.optional("TWILIO_ACCOUNT_SID", some_text);
    let auth_token = reader.optional("TWILIO_AUTH_TOKEN", some_text);
    if account_sid.is_some() != auth_token.is_some() {
        reader.mistake(
            "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN belong together: set both or neither".to_owned(),
        );
    }
    let twilio = account_sid.zip(auth_token);
    Telephony {
        twilio: twilio.map(|(account_sid, token)| TwilioAccount { account_sid, auth_token: token.into() }),
        default_tenant_id: reader.optional("DEFAULT_TENANT_ID", tenant_id),
    }
}

/// No more pauses than a delivery may be retried, and none longer than a timer may be kept.
fn schedule(text: &str) -> Result<Schedule, String> {
    let pauses: Result<Vec<Duration>, String> =
        text.split(',').map(|pause| seconds(0.05, 172_800.0)(pause.trim())).collect();
    match pauses {
        Ok(pauses) if pauses.len() <= 20 => Ok(Schedule::new(pauses)),
        _ => Err("must be at most 20 numbers of seconds from 0.05 to 172800, separated by commas".to_owned()),
    }
}

fn tenant_id(text: &str) -> Result<TenantId, String> {
    text.parse().map_err(|_| "must be the id of a tenant".to_owned())
}

impl VendorSettings {
    fn read_with(reader: &mut Reader<'_>) -> Self {
        let language_models = LanguageModels::read_with(reader);
        let openai = language_models.vendors.iter().find(|vendor| vendor.provider == "openai");
        let speech = SpeechSettings::read_with(reader, openai.and_then(|vendor| vendor.endpoints.first()));
        Self {
            timeout: reader.or("VENDOR_TIMEOUT_SECONDS", Duration::from_secs(10), seconds(0.05, 600.0)),
            first_token_timeout: reader.or(
                "VENDOR_FIRST_TOKEN_SECONDS",
                Duration::from_secs(8),
                seconds(0.05, 600.0),
            ),
            stall_timeout: reader.or("VENDOR_STALL_SECONDS", Duration::from_secs(5), seconds(0.05, 600.0)),
            max_retries: reader.or("VENDOR_MAX_RETRIES", 3, in_range(0, 20)),
            retry_min_wait: reader.or("VENDOR_RETRY_MIN_WAIT", Duration::from_secs(1), seconds(0.0, 600.0)),
            retry_max_wait: reader.or("VENDOR_RETRY_MAX_WAIT", Duration::from_secs(10), seconds(0.0, 600.0)),
            language_models,
            speech,
        }
    }
}

pub const DEFAULT_PORT: u16 = 8000;

pub(crate) struct Reader<'a> {
    lookup: Lookup<'a>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    pub(crate) fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = (self.lookup)(name)?;
        match parse(value.trim()) {
            Ok(parsed) => Some(parsed),
            Err(mistake) => {
                self.mistakes.push(format!("{name} {mistake}"));
                None
            }
        }
    }

    pub(crate) fn or<T>(&mut self, name: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(name, parse).unwrap_or(default)
    }

    /// Notes what is wrong beyond one value; it has to name the variables.
    pub(crate) fn mistake(&mut self, mistake: String) {
        self.mistakes.push(mistake);
    }

    fn required(&mut self, name: &str, parse: impl Fn(&str) -> Result<String, String>) -> String {
        if (self.lookup)(name).is_none() {
            self.mistakes.push(format!("{name} is not set"));
        }
        self.optional(name, parse).unwrap_or_default()
    }
}

pub(crate) fn in_range<T: FromStr + PartialOrd + fmt::Display + Copy>(
    least: T,
    most: T,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| match text.parse::<T>() {
        Ok(value) if value >= least && value <= most => Ok(value),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

fn seconds(least: f64, most: f64) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| match text.parse::<f64>() {
        Ok(value) if value >= least && value <= most => Ok(Duration::from_secs_f64(value)),
        _ => Err(format!("must be a number of seconds from {least} to {most}")),
    }
}

pub(crate) fn price(text: &str) -> Result<Decimal, String> {
    match text.parse::<Decimal>() {
        Ok(value) if (Decimal::ZERO..=check::MAX_USD).contains(&value) && value.scale() <= COST_SCALE => {
            Ok(value)
        }
        _ => Err(format!(
            "must be a decimal number of dollars, 0 to {}, with at most {COST_SCALE} decimals",
            check::MAX_USD
        )),
    }
}

pub(crate) fn url_of(schemes: &'static [&'static str]) -> impl Fn(&str) -> Result<String, String> {
    move |text| match text.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) && !rest.is_empty() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!("must be a URL that begins with {}://", schemes.join(":// or "))),
    }
}

pub(crate) fn some_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn at_least(length: usize) -> impl Fn(&str) -> Result<String, String> {
    move |text| {
        if text.len() >= length {
            Ok(text.to_owned())
        } else {
            Err(format!("must have at least {length} characters"))
        }
    }
}

fn secret_key(text: &str) -> Result<String, String> {
    match base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(text.to_owned()),
        _ => Err("must be 32 bytes in base64, as `openssl rand -base64 32` prints them".to_owned()),
    }
}

fn word(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err("must be of letters and digits".to_owned())
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// The user named in a Postgres URL: the role that migrations grant to.
pub fn login_role(database_url: &SecretString) -> Option<&str> {
    let (_, rest) = database_url.expose_secret().split_once("://")?;
    let (credentials, _) = rest.split_once('@')?;
    Some(credentials.split(':').next().unwrap_or(credentials))
}

#[cfg(test)]
mod tests {
    use domain::prices::price_in;
    use domain::{Tokens, Work};
    use events::prices::PriceKind;

    use super::*;
    use crate::language_models::Vendor;

    fn good(name: &str) -> Option<String> {
        let value = match name {
            "DATABASE_URL" => "postgres://vocalbridge:secret@127.0.0.1:5432/vocalbridge",
            "NATS_URL" => "nats://127.0.0.1:4222",
            "VOCALBRIDGE_OPERATOR_KEY" => "operator-operator",
            "VOCALBRIDGE_SECRET_KEY" => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn four_variables_are_enough() -> Result<(), SettingsError> {
        let settings = Settings::read(&good)?;
        assert_eq!(settings.port, DEFAULT_PORT);
        assert_eq!(login_role(&settings.database_url), Some("vocalbridge"));
        Ok(())
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_name() {
        let lookup = |name: &str| match name {
            "VENDOR_TIMEOUT_SECONDS" => Some("soon".to_owned()),
            "VOCALBRIDGE_PORT" => Some("99999".to_owned()),
            "VOCALBRIDGE_SECRET_KEY" => Some("c2hvcnQ=".to_owned()),
            "VENDOR_A_PRICE" => Some("-1".to_owned()),
            "VOCALBRIDGE_ALLOW_PRIVATE_URLS" => Some("maybe".to_owned()),
            _ => None,
        };
        let text =
            Settings::read(&lookup).map(|_| ()).map_err(|error| error.to_string()).err().unwrap_or_default();
        for name in [
            "DATABASE_URL",
            "NATS_URL",
            "VOCALBRIDGE_OPERATOR_KEY",
            "VOCALBRIDGE_SECRET_KEY",
            "VOCALBRIDGE_PORT",
            "VENDOR_TIMEOUT_SECONDS",
            "VENDOR_A_PRICE",
            "VOCALBRIDGE_ALLOW_PRIVATE_URLS",
        ] {
            assert!(text.contains(name), "{name} is missing in: {text}");
        }
    }

    #[test]
    fn a_key_switches_its_vendor_on_and_the_others_name_theirs() -> Result<(), SettingsError> {
        let lookup = |name: &str| match name {
            "ANTHROPIC_API_KEY" => Some("secret".to_owned()),
            "GOOGLE_API_KEY" => Some("another secret".to_owned()),
            "GOOGLE_BASE_URL" => Some("simulated".to_owned()),
            "OPENAI_COMPATIBLE_BASE_URL" => Some("http://localhost:11434/v1/".to_owned()),
            _ => good(name),
        };
        let models = Settings::read(&lookup)?.vendors.language_models;
        let address = |vendor: &Vendor| {
            let [endpoint] = &vendor.endpoints[..] else { return (vendor.provider, String::new()) };
            (vendor.provider, endpoint.base_url.with("http://sim"))
        };
        let expected = [
            ("vendor_a", "http://sim/vendor_a"),
            ("vendor_b", "http://sim/vendor_b"),
            ("anthropic", "https://api.anthropic.com"),
            ("google", "http://sim/google"),
            ("openai_compatible", "http://localhost:11434/v1"),
        ]
        .map(|(provider, url)| (provider, url.to_owned()));
        assert_eq!(models.vendors.iter().map(address).collect::<Vec<_>>(), expected);
        assert_eq!(models.absent_by_variable()["openai"], "OPENAI_API_KEY");
        assert!(!format!("{models:?}").contains("secret"));
        Ok(())
    }

    #[test]
    fn a_thousand_tokens_cost_the_set_price() -> Result<(), SettingsError> {
        let prices = Settings::read(&good)?.vendors.language_models.prices();
        assert_eq!(check::mistakes(&prices), []);
        let price =
            price_in(&prices, PriceKind::Model, vendors::llm::VENDOR_A, "vendor-a-1").cloned().unwrap();
        let tokens = Tokens { input: 600, output: 400, ..Tokens::default() };
        assert_eq!(Work::from(tokens).cost(&price), Decimal::new(2, 3));
        Ok(())
    }
}
