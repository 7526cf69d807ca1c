//! Logs as JSON lines on standard error; `RUST_LOG` narrows or widens them, but for what is never logged.

use tracing_subscriber::EnvFilter;

/// Call once, at the start of the process. `default` is the filter when `RUST_LOG` is not set.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // It logs what tenants' MCP servers say, in whatever words.
    let filter = match "rmcp=off".parse() {
        Ok(never) => filter.add_directive(never),
        Err(_) => filter,
    };
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
    // A second call, as in tests of one process, keeps the first.
    let _ = subscriber.with_writer(std::io::stderr).try_init();
}
