//! How hearing and speaking fail.

use crate::http::{Class, VendorError};

/// Why there is no transcript, or no audio. What it shows is safe to store: never a key, an address or anybody's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// Waiting would be too long for a conversation.
    #[error("{provider} has as much speech to do as it can")]
    AtCapacity { provider: &'static str },
    #[error("the speech models are not installed ({missing} is missing): run `make models`")]
    NotInstalled { missing: String },
    #[error("speech by {provider} is not configured: {variable} is not set")]
    NotConfigured { provider: String, variable: &'static str },
    #[error("speech by {provider} is not available yet")]
    NotAvailableYet { provider: String },
    #[error("there is no speech provider {provider:?}")]
    UnknownProvider { provider: String },
    #[error("{provider} has no model {model:?}")]
    UnknownModel { provider: &'static str, model: String },
    #[error("{provider} has no voice {voice:?}")]
    UnknownVoice { provider: &'static str, voice: String },
    #[error("{provider} does not know the language {language:?}")]
    UnknownLanguage { provider: &'static str, language: String },
    #[error("a text to speak has at most {most} characters")]
    TextTooLong { most: usize },
    /// An engine on this machine broke down.
    #[error("the speech engine {provider} failed: {detail}")]
    Engine { provider: &'static str, detail: String },
    #[error("speech by {provider} failed")]
    Vendor { provider: &'static str, source: VendorError },
}

impl SpeechError {
    /// What to do about it; nothing else decides.
    pub fn class(&self) -> Class {
        match self {
            Self::AtCapacity { .. } | Self::Engine { .. } => Class::Retry { after: None },
            Self::NotInstalled { .. } | Self::NotConfigured { .. } => Class::Fatal,
            Self::NotAvailableYet { .. }
            | Self::UnknownProvider { .. }
            | Self::UnknownModel { .. }
            | Self::UnknownVoice { .. }
            | Self::UnknownLanguage { .. }
            | Self::TextTooLong { .. } => Class::Reject,
            Self::Vendor { source, .. } => source.class,
        }
    }

    /// A stable, short name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AtCapacity { .. } => "at_capacity",
            Self::NotInstalled { .. } => "not_installed",
            Self::NotConfigured { .. } => "not_configured",
            Self::NotAvailableYet { .. } => "not_available_yet",
            Self::UnknownProvider { .. } => "unknown_provider",
            Self::UnknownModel { .. } => "unknown_model",
            Self::UnknownVoice { .. } => "unknown_voice",
            Self::UnknownLanguage { .. } => "unknown_language",
            Self::TextTooLong { .. } => "text_too_long",
            Self::Engine { .. } => "engine_failed",
            Self::Vendor { source, .. } => source.code.as_str(),
        }
    }
}
