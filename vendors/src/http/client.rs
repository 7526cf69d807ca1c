//! How every HTTP client is built, and the one that all vendors share.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};

/// Time to reach a vendor, TLS handshake included; part of the attempt's own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept per vendor: as many as turns may run at once, so that none pays for a new handshake.
const IDLE_CONNECTIONS_PER_HOST: usize = 1024;
/// Most vendors close an idle connection after 60 s or more; closing first avoids writing into a dead one.
const IDLE_CONNECTION_LIFE: Duration = Duration::from_secs(55);

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for vendors could not be built")]
pub struct ClientError(#[from] reqwest::Error);

/// The client of our own vendors.
///
/// # Errors
/// When the TLS configuration is refused.
pub(crate) fn shared_client() -> Result<Client, ClientError> {
    build(|builder| {
        builder.connect_timeout(CONNECT_TIMEOUT).pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
    })
}

/// A client for whoever speaks to VocalBridge itself.
///
/// # Errors
/// When the TLS configuration is refused.
pub fn plain_client() -> Result<Client, ClientError> {
    build(|builder| builder.connect_timeout(CONNECT_TIMEOUT))
}

/// Builds a client: no redirects (a key must not travel to another host), no hidden retries (every request
/// is reported), no proxies from the environment.
///
/// Installs ring as the process's TLS provider if none is installed. On a machine without root certificates
/// the client still comes up, and every `https` vendor then fails to connect: the built-in vendors must serve
/// anywhere.
///
/// # Errors
/// When the TLS configuration is refused.
pub(crate) fn build(with: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Err means that another thread was faster, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    with(builder()).build().or_else(|error| {
        tracing::warn!(error = %error, "no root certificates on this machine: nobody will be reachable over https");
        Ok(with(builder()).tls_certs_only([]).build()?)
    })
}

fn builder() -> ClientBuilder {
    Client::builder()
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE_CONNECTION_LIFE)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
}
