//! Sessions with servers: one per server while it is used, so that a run costs one request.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::service::RunningService;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use uuid::Uuid;

use super::transport::Us;
use super::{McpFailed, McpServer};

/// Sessions of one process; one more closes the one that was not used for longest.
const MAX_SESSIONS: usize = 512;

pub(super) type Running = RunningService<RoleClient, Us>;
pub(super) type Peer = rmcp::Peer<RoleClient>;
/// Tenant and server.
type Key = (Uuid, Uuid);

/// Open sessions. One that is let go closes when its last run has ended.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Arc<Session>>>);

pub(super) struct Session {
    key: Key,
    version: u32,
    running: OnceCell<Running>,
    used: Mutex<Instant>,
}

impl Sessions {
    /// The session with the server under its present settings; a new one when there is none that lives.
    pub(super) fn of(&self, server: &McpServer) -> Arc<Session> {
        let key = (server.tenant_id, server.id);
        let mut open = self.open();
        if let Some(session) = open.get(&key)
            && session.version == server.version
            && session.may_live()
        {
            *lock(&session.used) = Instant::now();
            return session.clone();
        }
        if open.len() >= MAX_SESSIONS
            && let Some(oldest) = open.values().min_by_key(|session| *lock(&session.used)).cloned()
        {
            open.remove(&oldest.key);
        }
        let used = Mutex::new(Instant::now());
        let session = Arc::new(Session { key, version: server.version, running: OnceCell::new(), used });
        open.insert(key, session.clone());
        session
    }

    /// Lets `session` go, unless another has taken its place.
    pub(super) fn forget(&self, session: &Arc<Session>) {
        let mut open = self.open();
        if open.get(&session.key).is_some_and(|current| Arc::ptr_eq(current, session)) {
            open.remove(&session.key);
        }
    }

    pub(super) fn close_idle(&self, idle: Duration) {
        self.open().retain(|_, session| lock(&session.used).elapsed() < idle);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, Arc<Session>>> {
        lock(&self.0)
    }
}

impl Session {
    /// The server, asked for a session first when this is the first use.
    pub(super) async fn peer<F: Future<Output = Result<Running, McpFailed>>>(
        &self,
        connect: impl FnOnce() -> F,
    ) -> Result<&Peer, McpFailed> {
        Ok(self.running.get_or_try_init(connect).await?.deref())
    }

    fn may_live(&self) -> bool {
        self.running.get().is_none_or(|running| !running.is_closed() && !running.is_transport_closed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
