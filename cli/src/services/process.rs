//! A server as a child process: it never outlives us, never hears the terminal's Ctrl-C, and is found again when an
//! earlier run left it behind.
//!
//! Every process of a server carries its *mark* (see [`super::account::mark`]) in its command line. That, with the
//! program's name, is how its processes are told from all others: anyone may read a command line, nothing has to be
//! remembered in a file, and a pid that was given to somebody else in the meantime is not mistaken for ours.

use std::{
    fs,
    io::{self, Read, Seek},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::sync::{mpsc, oneshot};

use super::account::Account;

/// How often an end that nobody announces is looked for.
pub const POLL: Duration = Duration::from_millis(10);

/// After SIGKILL only the kernel has work to do.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Which program a server is, and how its processes are known.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The kernel's name of the process, such as `postgres`.
    pub program: &'static str,
    pub mark: String,
}

impl Identity {
    /// All its living processes, the children it forked included.
    pub fn pids(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.is(*pid)).collect()
    }

    fn is(&self, pid: u32) -> bool {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // A zombie's command line is empty: what is dead does not count.
        name.trim() == self.program
            && fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&self.mark))
    }

    /// Stops what an earlier run left behind.
    pub async fn stop_stale(&self, gentle: Signal, limit: Duration) -> Result<()> {
        let stale = self.pids();
        if stale.is_empty() {
            return Ok(());
        }
        tracing::info!(program = self.program, pids = ?stale, "stopping what an earlier run left behind");
        for pid in stale {
            send(pid, gentle);
        }
        if !self.gone_within(limit).await {
            self.kill();
            if !self.gone_within(KILL_LIMIT).await {
                bail!("{} of an earlier run does not end: pids {:?}", self.program, self.pids());
            }
        }
        Ok(())
    }

    fn kill(&self) {
        for pid in self.pids() {
            send(pid, Signal::SIGKILL);
        }
    }

    async fn gone_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.pids().is_empty() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    identity: Identity,
    ended: Option<ExitStatus>,
}

impl Process {
    /// `command` is made by [`server_command`] and carries the identity's mark in its arguments.
    pub async fn spawn(command: Command, identity: Identity) -> Result<Self> {
        let program = identity.program;
        spawn_from_lasting_thread(command, identity).await.with_context(|| format!("starting {program}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended =
                self.child.try_wait().with_context(|| format!("watching {}", self.identity.program))?;
        }
        Ok(self.ended)
    }

    /// Asks it to end with `gentle`, and kills it after `limit`.
    pub async fn stop(&mut self, gentle: Signal, limit: Duration) -> Result<()> {
        if self.ended()?.is_none() {
            send(self.pid(), gentle);
        }
        let deadline = Instant::now() + limit;
        while self.ended()?.is_none() {
            if Instant::now() > deadline {
                tracing::warn!(program = self.identity.program, "did not end when asked to; killed");
                return self.kill().await;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGKILL, to it and all its children, and waits until none is left.
    pub async fn kill(&mut self) -> Result<()> {
        self.send_kill()?;
        if !self.identity.gone_within(KILL_LIMIT).await {
            bail!("{} does not end when killed: pids {:?}", self.identity.program, self.identity.pids());
        }
        Ok(())
    }

    fn send_kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            // Stopped first, it cannot fork a child that we would miss.
            send(self.pid(), Signal::SIGSTOP);
        }
        self.identity.kill();
        if self.ended.is_none() {
            // Also reached when it is not yet the program it will be, and so not found by its mark.
            let _ = self.child.kill();
            self.ended =
                Some(self.child.wait().with_context(|| format!("waiting for {}", self.identity.program))?);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            let _ = self.send_kill();
        }
    }
}

/// The end of a server's log: what it had to say before it gave up.
pub fn log_tail(path: &Path) -> String {
    const MOST_BYTES: u64 = 3_000;
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(MOST_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    };
    read().unwrap_or_else(|error| format!("({} cannot be read: {error})", path.display()))
}

/// It may have ended already; that is what was wanted.
fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = signal::kill(Pid::from_raw(pid), signal);
    }
}

/// A server's command: in its own process group, so that Ctrl-C reaches us alone and we stop the servers in order;
/// and, where `setpriv` of util-linux is there, with `on_our_death` from the kernel when we die without having
/// stopped it. `setpriv` replaces itself with the program, so the pid stays.
pub fn server_command(program: &Path, account: Option<&Account>, on_our_death: Signal) -> Command {
    let mut command = if can_follow_us() {
        let mut command = super::account::command("setpriv", account);
        command.args(["--pdeathsig", on_our_death.as_str().trim_start_matches("SIG"), "--"]);
        command.arg(program);
        command
    } else {
        super::account::command(program, account)
    };
    command.process_group(0);
    command
}

fn can_follow_us() -> bool {
    static FOLLOWS: OnceLock<bool> = OnceLock::new();
    *FOLLOWS.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "keep", "--", "true"])
            .status()
            .is_ok_and(|it| it.success())
    })
}

/// Starts the child from a thread that lives as long as the process: the kernel's signal on the parent's death fires
/// when the *thread* that spawned the child ends, and a runtime's threads end with the runtime.
async fn spawn_from_lasting_thread(command: Command, identity: Identity) -> Result<Process> {
    type Request = (Command, Identity, oneshot::Sender<io::Result<Process>>);
    static SPAWNER: OnceLock<Option<mpsc::Sender<Request>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        // Full means that four children are being started this moment; the fifth waits.
        let (requests, mut inbox) = mpsc::channel::<Request>(4);
        let serve = move || {
            while let Some((mut command, identity, reply)) = inbox.blocking_recv() {
                // When nobody waits any more, the answer is dropped, and the child killed with it.
                let _ = reply.send(command.spawn().map(|child| Process { child, identity, ended: None }));
            }
        };
        thread::Builder::new().name("services-spawner".into()).spawn(serve).ok().map(|_| requests)
    });
    let spawner = spawner.as_ref().ok_or_else(|| anyhow!("the system gives us no thread"))?;
    let (reply, answer) = oneshot::channel();
    spawner.send((command, identity, reply)).await.ok().context("the spawning thread is gone")?;
    Ok(answer.await.context("the spawning thread is gone")??)
}
