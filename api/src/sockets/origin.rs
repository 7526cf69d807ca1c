//! Which web pages may open sockets. A browser sends no API key of its own, but a page of somebody else's could show a
//! ticket it got hold of; and a browser says, truly, whose page it is.

use axum::http::{HeaderMap, header};

use crate::Config;
use crate::problem::{Code, Problem};

/// # Errors
/// `foreign_origin`, when a browser says that the page is of another origin than ours or an allowed one.
pub(super) fn check(headers: &HeaderMap, config: &Config) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_allowed(origin, host, &config.app_url, &config.cors_origins) {
        return Ok(());
    }
    Err(Problem::new(Code::ForeignOrigin, "add the page's origin to CORS_ORIGINS"))
}

fn is_allowed(origin: &str, host: &str, app_url: &str, cors_origins: &[String]) -> bool {
    let same = |url: &str| origin.eq_ignore_ascii_case(origin_of(url));
    let is_own = origin.split_once("://").is_some_and(|(scheme, of_page)| {
        matches!(scheme, "http" | "https") && !host.is_empty() && of_page.eq_ignore_ascii_case(host)
    });
    is_own || same(app_url) || cors_origins.iter().any(|allowed| allowed == "*" || same(allowed))
}

/// A URL without its path.
fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find('/').map_or(url.len(), |slash| authority + slash);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_pages_and_the_allowed_ones_come_in_and_no_other() {
        let cors = ["https://app.example.com".to_owned()];
        let allowed =
            |origin: &str| is_allowed(origin, "voice.example:8000", "https://a.example/base", &cors);
        for own in [
            "http://voice.example:8000",
            "https://voice.example:8000",
            "https://a.example",
            "https://APP.example.com",
        ] {
            assert!(allowed(own), "{own}");
        }
        for foreign in [
            "null",
            "",
            "http://voice.example",
            "https://a.example.evil.com",
            "https://evil.com/https://a.example",
            "https://app.example.com.evil.com",
            "http://app.example.com",
            "file://voice.example:8000",
            "https://a.example/base",
        ] {
            assert!(!allowed(foreign), "{foreign}");
        }
        assert!(is_allowed("https://any.example", "", "http://x", &["*".to_owned()]));
        assert!(!is_allowed("http://", "", "http://x", &[]));
    }
}
