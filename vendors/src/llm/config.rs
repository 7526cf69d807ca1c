//! Which language models there are, and how patient we are with them.

use std::time::Duration;

use secrecy::SecretString;

use crate::resilience::{Backoff, BreakerConfig};

/// The name of the first built-in vendor.
pub const VENDOR_A: &str = "vendor_a";
/// The name of the second built-in vendor.
pub const VENDOR_B: &str = "vendor_b";

/// All language models and the resilience around them.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    /// A vendor named twice is served by the last entry.
    pub vendors: Vec<LlmVendorConfig>,
    /// Limit of one attempt, from dialling to the last byte.
    pub timeout: Duration,
    /// Limit of a streaming attempt from dialling to the first text or tool call. Keep-alives and hidden
    /// thoughts do not count.
    pub first_token_timeout: Duration,
    /// The longest pause of a stream between two pieces of text or tool calls, and after the last one.
    pub stall_timeout: Duration,
    /// Retries of one target after its first attempt.
    pub max_retries: u32,
    pub backoff: Backoff,
    pub breaker: BreakerConfig,
    /// A larger answer counts as garbage.
    pub max_answer_bytes: usize,
    /// Makes the jitter repeat; `None` outside tests.
    pub jitter_seed: Option<u64>,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            vendors: Vec::new(),
            timeout: Duration::from_secs(10),
            first_token_timeout: Duration::from_secs(8),
            stall_timeout: Duration::from_secs(5),
            max_retries: 3,
            backoff: Backoff::default(),
            breaker: BreakerConfig::default(),
            max_answer_bytes: 1024 * 1024,
            jitter_seed: None,
        }
    }
}

/// One vendor.
#[derive(Debug, Clone)]
pub struct LlmVendorConfig {
    /// The name that targets use, such as [`VENDOR_A`]. Also a metric label, so it must come from
    /// configuration.
    pub provider: String,
    pub wire: LlmWire,
    /// Load is spread over them; at least one.
    pub endpoints: Vec<LlmEndpoint>,
}

/// One key at one address.
#[derive(Debug, Clone)]
pub struct LlmEndpoint {
    /// Without the paths that belong to the wire format: `http://127.0.0.1:8090/vendor_a`,
    /// `https://api.openai.com/v1`, `https://api.anthropic.com`, `https://generativelanguage.googleapis.com`.
    pub base_url: String,
    pub api_key: SecretString,
}

/// The wire formats that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LlmWire {
    VendorA,
    VendorB,
    /// Chat completions, as OpenAI, DeepSeek, Groq and every compatible server (Ollama, vLLM, llama.cpp)
    /// take them.
    OpenAi,
    Anthropic,
    Gemini,
}
