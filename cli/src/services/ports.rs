//! Free ports on 127.0.0.1.

use std::{net::TcpListener, ops::Range};

use anyhow::{Context, Result, bail};
use rand::{TryRng, rngs::SysRng};

/// Below the range from which Linux takes ports for outgoing connections (32768 up). From that range a client that
/// redials a killed server could be given the server's own port, connect to itself, and keep the server from coming
/// back on it.
const RANGE: Range<u16> = 20_000..29_000;

/// `remembered` when it is still free, else another. The port is free now, not reserved: a server that finds it
/// taken asks again.
pub fn free(remembered: Option<u16>) -> Result<u16> {
    if let Some(port) = remembered.filter(|port| is_free(*port)) {
        return Ok(port);
    }
    for _ in 0..1_000 {
        let random = SysRng.try_next_u32().context("asking the system for random bytes")?;
        let port = RANGE.start + (random % u32::from(RANGE.end - RANGE.start)) as u16;
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end)
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
