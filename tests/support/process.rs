//! Roles in processes of their own, so that a test can kill them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{free_port, ready};
use crate::{Client, World};

/// A running `vocalbridge`. Killed when dropped.
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Process {
    /// Starts the program under test with `arguments` and nothing of our environment but what it needs to run.
    pub fn start(arguments: &[&str], environment: &[(String, String)], log: PathBuf) -> Self {
        let binary = std::env::current_exe().unwrap();
        // .../target/<profile>/deps/it-… → .../target/<profile>/vocalbridge-under-test
        let folder =
            binary.ancestors().find(|folder| folder.join("vocalbridge-under-test").exists()).unwrap();
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new(folder.join("vocalbridge-under-test"))
            .args(arguments)
            .env_clear()
            .envs(
                std::env::vars()
                    .filter(|(name, _)| ["PATH", "HOME", "RUST_BACKTRACE"].contains(&name.as_str())),
            )
            .envs(environment.iter().cloned())
            .current_dir(log.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no chance to finish anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn interrupt(&self) {
        kill(Pid::from_raw(self.pid() as i32), Signal::SIGINT).unwrap();
    }

    /// Waits for the end of the process and answers its exit code (`None`: a signal).
    pub async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let status =
            crate::eventually("the end of a process", limit, async || self.child.try_wait().unwrap()).await;
        status.code()
    }

    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// All roles in one process of their own, and a client of the first demo tenant: for what only a process has, such as
/// metrics and a log.
pub async fn serve(world: &mut World) -> (Process, Client) {
    let port = free_port();
    let process = world.spawn("api,workers,projections", port);
    let client = world.client(&format!("http://127.0.0.1:{port}"), 0);
    ready(&client).await;
    (process, client)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
