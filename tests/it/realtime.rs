//! What moves voice runs ahead of everybody else, and nothing that it starts does.

use std::process::Command;

use tests::{Process, World, world};

const THREADS: usize = 2;

/// Scheduling policies of a process' threads, as `proc(5)` has them: 0 is everybody's, 2 is `SCHED_RR`.
fn policies(process: &Process) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
    threads
        .map(|thread| {
            let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            // The second field, a name in brackets, may hold anything.
            let fields = stat.rsplit_once(") ").unwrap().1;
            fields.split(' ').nth(38).unwrap().parse().unwrap()
        })
        .collect()
}

/// A process of `roles` that is ready.
async fn serving(world: &mut World, roles: &str) -> Process {
    let port = world::free_port();
    let process = world.spawn(roles, port);
    world::ready(&world.client(&format!("http://127.0.0.1:{port}"), 0)).await;
    process
}

#[tokio::test]
async fn where_voice_is_moved_the_threads_of_the_runtime_run_ahead_and_no_others() {
    let chrt = Command::new("chrt").args(["--rr", "1", "true"]).status();
    let is_allowed = chrt.is_ok_and(|status| status.success());
    let threads = THREADS.to_string();
    let settings = [("VOCALBRIDGE_REALTIME", "true"), ("TOKIO_WORKER_THREADS", threads.as_str())];
    let mut world = World::with_environment(&settings).await;

    let voice = serving(&mut world, "api,voice,projections").await;
    let found = policies(&voice);
    let ahead = found.iter().filter(|policy| **policy == 2).count();
    assert_eq!(ahead, if is_allowed { THREADS } else { 0 }, "{found:?}");
    // Projections have a thread, and that does not inherit it.
    assert!(found.len() > THREADS + 1, "{found:?}");
    assert!(found.iter().all(|policy| [0, 2].contains(policy)), "{found:?}");

    let others = serving(&mut world, "api,turns").await;
    assert!(policies(&others).iter().all(|policy| *policy == 0));
}
