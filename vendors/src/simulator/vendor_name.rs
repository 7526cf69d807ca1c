//! Which vendors are simulated, and what is kept for each of them.

use std::ops::{Index, IndexMut};

/// The vendors that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VendorName {
    A,
    B,
    OpenAi,
    Groq,
    DeepSeek,
    Anthropic,
    Google,
    /// The built-in speech vendor.
    Speech,
}

impl VendorName {
    const ALL: [Self; 8] = [
        Self::A,
        Self::B,
        Self::OpenAi,
        Self::Groq,
        Self::DeepSeek,
        Self::Anthropic,
        Self::Google,
        Self::Speech,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::A => "vendor_a",
            Self::B => "vendor_b",
            Self::OpenAi => "openai",
            Self::Groq => "groq",
            Self::DeepSeek => "deepseek",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::Speech => "simulated_speech",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.as_str() == name)
    }
}

/// One value for each vendor.
pub(super) struct PerVendor<T>([T; VendorName::ALL.len()]);

impl<T> PerVendor<T> {
    pub(super) fn new(value: impl FnMut(VendorName) -> T) -> Self {
        Self(VendorName::ALL.map(value))
    }
}

impl<T> Index<VendorName> for PerVendor<T> {
    type Output = T;

    fn index(&self, vendor: VendorName) -> &T {
        &self.0[vendor as usize]
    }
}

impl<T> IndexMut<VendorName> for PerVendor<T> {
    fn index_mut(&mut self, vendor: VendorName) -> &mut T {
        &mut self.0[vendor as usize]
    }
}
