//! URLs that users give us: where they may lead, and a client that goes nowhere else.
//!
//! A URL is looked at twice. [`checked`] sees what the text alone shows: scheme, credentials, an address written out. Where
//! a name leads is seen when it is connected to, by [`GuardedNames`]: every address it has must be public, and the
//! connection goes to one of exactly these, so that nothing can change between the check and the use (DNS rebinding).

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};

use super::addresses::is_public;
use super::client::{self, ClientError};

/// Longer URLs are refused.
pub const MAX_URL_BYTES: usize = 2_048;

/// Idle connections kept per host that a user named.
const IDLE_CONNECTIONS_PER_HOST: usize = 8;

/// Which URLs of users are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UrlPolicy {
    /// `VOCALBRIDGE_ALLOW_PRIVATE_URLS`: any address, and plain http too. For development.
    pub allow_private: bool,
}

/// A user's URL is not taken. The text goes on from the name of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    #[error("must be an absolute URL, such as https://example.com/path")]
    Unreadable,
    #[error("must have at most {MAX_URL_BYTES} bytes")]
    TooLong,
    #[error("must begin with https://")]
    NotHttps,
    #[error("must not hold a user name or a password")]
    HasCredentials,
    #[error("must not lead to a private, local or reserved address")]
    NotPublic,
}

/// The URL, as far as its text says that it may be asked. Whether its name leads to an allowed address is seen by the
/// client, each time.
///
/// # Errors
/// What is wrong with it.
pub fn checked(text: &str, policy: UrlPolicy) -> Result<Url, UrlRefused> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlRefused::TooLong);
    }
    // The parser would pass over them.
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err(UrlRefused::Unreadable);
    }
    let url = Url::parse(text).map_err(|_| UrlRefused::Unreadable)?;
    match url.scheme() {
        "https" => {}
        "http" if policy.allow_private => {}
        _ => return Err(UrlRefused::NotHttps),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlRefused::HasCredentials);
    }
    let host = url.host_str().ok_or(UrlRefused::Unreadable)?;
    if !policy.allows_host(host) {
        return Err(UrlRefused::NotPublic);
    }
    Ok(url)
}

impl UrlPolicy {
    fn allows(self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }

    /// `host` as the URL's parser writes it: an address in whatever notation has become its usual one by then.
    fn allows_host(self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return self.allows(address);
        }
        let name = host.trim_end_matches('.');
        let is_local = name == "localhost" || name.ends_with(".localhost");
        self.allow_private || !is_local
    }
}

/// Looks names up: the system does, and tests have their own.
pub trait Names: Send + Sync {
    /// All addresses of `name`.
    fn addresses(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn addresses(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Gives a connection those addresses only that all were looked at.
struct GuardedNames {
    names: Arc<dyn Names>,
    policy: UrlPolicy,
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, addresses) = (self.policy, self.names.addresses(name.as_str().to_owned()));
        Box::pin(async move {
            let addresses = addresses.await?;
            // One bad address spoils all: a name that leads inside and outside is up to no good.
            if !addresses.iter().all(|address| policy.allows(*address)) {
                return Err(UrlRefused::NotPublic.into());
            }
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// A client for users' URLs: it connects to allowed addresses only, and follows no redirect, which would lead it
/// elsewhere. What is asked of it must come from [`checked`]: an address written out in the URL is not looked up.
///
/// # Errors
/// When the TLS configuration is refused.
pub(crate) fn guarded_client(
    policy: UrlPolicy,
    names: &Arc<dyn Names>,
    connect_timeout: Duration,
) -> Result<Client, ClientError> {
    client::build(|builder| {
        let names = GuardedNames { names: names.clone(), policy };
        builder
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .https_only(!policy.allow_private)
            .dns_resolver(names)
    })
}

/// Whether a request was not made because its name led where it must not.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| (**error).source()).any(|error| error.is::<UrlRefused>())
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
