//! `vocalbridge serve`: any roles against a Postgres and NATS that run elsewhere.

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::settings::Settings;
use crate::system::{self, Role, Roles, System};

/// Runs `roles` until Ctrl-C or SIGTERM.
pub async fn serve(settings: Settings, roles: Roles) -> Result<()> {
    let tracker = TaskTracker::new();
    let shutdown = system::shutdown_signal(&tracker)?;
    let listener = if roles.0.contains(&Role::Api) {
        Some(listen("0.0.0.0", settings.port, PORT_SETTING).await?)
    } else {
        None
    };
    let system = System::connect(settings).await?;
    match listener.as_ref().map(TcpListener::local_addr).transpose()? {
        Some(address) => tracing::info!(%address, ?roles, "serving"),
        None => tracing::info!(?roles, "serving"),
    }
    system.run(&roles, listener, shutdown).await
}

/// What chooses the api's port.
pub const PORT_SETTING: &str = "VOCALBRIDGE_PORT or --port";

/// `setting` is what chooses the port.
///
/// # Errors
/// When the port is taken.
pub async fn listen(host: &str, port: u16, setting: &str) -> Result<TcpListener> {
    TcpListener::bind((host, port))
        .await
        .with_context(|| format!("cannot listen on port {port}; {setting} chooses another"))
}
