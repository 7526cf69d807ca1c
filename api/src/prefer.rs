//! `Prefer` (RFC 7240): how long the client wants to wait for a result.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};

/// Waits longer than this are cut to it.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the client asked for, of what we understand; everything else is ignored, as the RFC says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    pub respond_async: bool,
    /// `None`: not said.
    pub wait: Option<Duration>,
}

impl Prefer {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut prefer = Self::default();
        for preference in sent.flat_map(|value| value.split(',')) {
            let token = preference.split(';').next().unwrap_or_default();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
            match name.as_str() {
                "respond-async" => prefer.respond_async = true,
                // The first one counts.
                "wait" if prefer.wait.is_none() => {
                    prefer.wait =
                        value.parse().ok().map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT));
                }
                _ => {}
            }
        }
        prefer
    }

    /// Of a request whose result is always waited for.
    pub(crate) fn to_wait(headers: &HeaderMap) -> Self {
        Self { respond_async: false, ..Self::of(headers) }
    }

    /// `answer`, saying what was made of the preference.
    pub(crate) fn applied_to(self, answer: impl IntoResponse) -> Response {
        match self.applied() {
            Some(applied) => ([(PREFERENCE_APPLIED, applied)], answer).into_response(),
            None => answer.into_response(),
        }
    }

    /// The value of `Preference-Applied`; `None` when nothing was asked.
    fn applied(self) -> Option<String> {
        match self {
            Self { respond_async: true, .. } => Some("respond-async".to_owned()),
            Self { wait: Some(wait), .. } => Some(format!("wait={}", wait.as_secs())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(value: &str) -> Prefer {
        Prefer::of(&HeaderMap::from_iter([(HeaderName::from_static("prefer"), value.parse().unwrap())]))
    }

    #[test]
    fn preferences_come_in_one_header_in_any_case() {
        let both = prefer("Respond-Async, wait=10; foo=bar, handling=lenient");
        assert_eq!(both, Prefer { respond_async: true, wait: Some(Duration::from_secs(10)) });
        assert_eq!(prefer("wait=\"5\"").wait, Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        assert_eq!(prefer("wait=soon, x"), Prefer::default());
        assert_eq!(prefer("wait=-1").wait, None);
    }

    #[test]
    fn a_wait_without_end_is_cut() {
        assert_eq!(prefer("wait=999999999999").wait, Some(MAX_WAIT));
    }
}
