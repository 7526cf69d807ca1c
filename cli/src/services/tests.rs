//! Against the real servers. Every test has its own data directory; binaries and template are shared with all
//! other tests of the workspace.

use std::{path::PathBuf, time::Instant};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};

use super::{process::Identity, *};

struct Dir(PathBuf);

impl Dir {
    async fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("vocalbridge-services-{test}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir.canonicalize().unwrap())
    }

    fn config(&self, durability: Durability) -> ServicesConfig {
        let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.data/bin");
        ServicesConfig::new(&self.0, durability).with_binaries_dir(binaries)
    }

    async fn remove(self) {
        erase(&self.0).await.unwrap();
        fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn write_a_row(services: &Services) {
    let mut database = PgConnection::connect(services.postgres.admin_url()).await.unwrap();
    sqlx::raw_sql("create table kept (value text); insert into kept values ('said')")
        .execute(&mut database)
        .await
        .unwrap();
}

async fn read_the_row(services: &Services) -> String {
    let mut database = PgConnection::connect(services.postgres.admin_url()).await.unwrap();
    sqlx::query_scalar("select value from kept").fetch_one(&mut database).await.unwrap()
}

#[tokio::test]
async fn the_login_role_owns_nothing_and_is_bound_by_row_level_security() {
    let dir = Dir::new("role").await;
    let began = Instant::now();
    let services = Services::start(&dir.config(Durability::Fast)).await.unwrap();
    println!("started in {:?}", began.elapsed());

    let mut database = PgConnection::connect(services.postgres.url()).await.unwrap();
    let role: (bool, bool, bool, i64) = sqlx::query_as(
        "select rolsuper, rolbypassrls, rolcanlogin,
           (select count(*) from pg_shdepend where refobjid = r.oid and deptype = 'o')
         from pg_roles r where rolname = current_user",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert_eq!(role, (false, false, true, 0));
    let refused = sqlx::raw_sql("create table mine ()").execute(&mut database).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501");

    let facts: (String, String, String) = sqlx::query_as(
        "select pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text, datcollate::text
         from pg_database where datname = current_database()",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert_eq!(facts, ("vocalbridge_owner".into(), "UTF8".into(), "C".into()));
    drop(database);
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn a_killed_postgres_starts_again_with_all_that_was_committed() {
    let dir = Dir::new("postgres").await;
    let mut services = Services::start(&dir.config(Durability::Fast)).await.unwrap();
    write_a_row(&services).await;
    let port = services.postgres.port();

    services.postgres.kill().await.unwrap();
    assert!(services.postgres.pids().is_empty());
    assert!(PgConnection::connect(services.postgres.url()).await.is_err());
    services.postgres.start_again().await.unwrap();

    assert_eq!(services.postgres.port(), port);
    assert_eq!(read_the_row(&services).await, "said");
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn a_killed_nats_server_starts_again_on_its_port() {
    let dir = Dir::new("nats").await;
    let mut services = Services::start(&dir.config(Durability::Fast)).await.unwrap();
    let (pid, url) = (services.nats.pid(), services.nats.url().to_owned());

    services.nats.kill().await.unwrap();
    assert!(ports::is_free(services.nats.port()));
    services.nats.start_again().await.unwrap();

    assert_ne!(services.nats.pid(), pid);
    assert_eq!(services.nats.url(), url);
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn stopping_is_quick_and_the_next_start_continues_on_the_same_data_and_ports() {
    let dir = Dir::new("continue").await;
    let began = Instant::now();
    let services = Services::start(&dir.config(Durability::Full)).await.unwrap();
    println!("first start in {:?}", began.elapsed());
    write_a_row(&services).await;
    let addresses = (services.postgres.url().to_owned(), services.nats.url().to_owned());
    let pids = [services.postgres.pids(), vec![services.nats.pid()]].concat();

    let began = Instant::now();
    services.stop().await.unwrap();
    println!("stopped in {:?}", began.elapsed());
    assert!(began.elapsed().as_secs() < 8);
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));

    let began = Instant::now();
    let services = Services::start(&dir.config(Durability::Full)).await.unwrap();
    println!("second start in {:?}", began.elapsed());
    assert_eq!((services.postgres.url().to_owned(), services.nats.url().to_owned()), addresses);
    assert_eq!(read_the_row(&services).await, "said");
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_is_refused() {
    let dir = Dir::new("lock").await;
    let services = Services::start(&dir.config(Durability::Fast)).await.unwrap();

    let refused = Services::start(&dir.config(Durability::Fast)).await.unwrap_err();

    let (dir_shown, pid) = (dir.0.display(), std::process::id());
    assert_eq!(
        refused.to_string(),
        format!("another VocalBridge is already running on {dir_shown} (pid {pid})")
    );
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn what_dies_is_started_again_while_kept_running() {
    let dir = Dir::new("revive").await;
    let mut services = Services::start(&dir.config(Durability::Fast)).await.unwrap();
    write_a_row(&services).await;
    let (nats, postmaster) = (services.nats.pid(), services.postgres.pids()[0]);
    let url = services.postgres.url().to_owned();
    for pid in [nats, postmaster] {
        signal::kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    }

    let shutdown = CancellationToken::new();
    let both_answer = async {
        let identity = Identity { program: "nats-server", mark: account::mark(&dir.0) };
        while identity.pids().is_empty()
            || identity.pids() == [nats]
            || PgConnection::connect(&url).await.is_err()
        {
            tokio::time::sleep(process::POLL).await;
        }
        shutdown.cancel();
    };
    tokio::join!(services.keep_running(&shutdown), both_answer);

    assert_eq!(read_the_row(&services).await, "said");
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn what_an_earlier_run_left_behind_is_stopped_first() {
    let dir = Dir::new("stale").await;
    let services = Services::start(&dir.config(Durability::Fast)).await.unwrap();
    write_a_row(&services).await;
    let left_behind = [services.postgres.pids(), vec![services.nats.pid()]].concat();
    // Forgotten, they go on running, as after a SIGKILL on a machine without `setpriv`; only the lock is released.
    let Services { postgres, nats, _lock } = services;
    std::mem::forget((postgres, nats));
    drop(_lock);

    let services = Services::start(&dir.config(Durability::Fast)).await.unwrap();

    assert!(left_behind.iter().all(|pid| !services.postgres.pids().contains(pid)));
    assert_ne!(services.nats.pid(), *left_behind.last().unwrap());
    assert_eq!(read_the_row(&services).await, "said");
    services.stop().await.unwrap();
    dir.remove().await;
}

#[tokio::test]
async fn dropping_the_services_leaves_no_process() {
    let dir = Dir::new("drop").await;
    let services = Services::start(&dir.config(Durability::Fast)).await.unwrap();
    let postgres = services.postgres.port();
    let nats: Identity = Identity { program: "nats-server", mark: account::mark(&dir.0) };
    assert_eq!(nats.pids(), [services.nats.pid()]);

    drop(services);

    assert!(nats.pids().is_empty() && ports::is_free(postgres));
    dir.remove().await;
}

#[tokio::test]
async fn a_server_that_does_not_come_up_says_why() {
    let dir = Dir::new("broken").await;
    Services::start(&dir.config(Durability::Fast)).await.unwrap().stop().await.unwrap();
    let record = cluster::Record::read(&dir.0.join("postgres.json")).unwrap().unwrap();
    fs::write(record.data().join("postgresql.auto.conf"), "no_such_setting = on\n").unwrap();

    let refused = Services::start(&dir.config(Durability::Fast)).await.unwrap_err();

    assert!(refused.to_string().contains("no_such_setting"), "{refused}");
    dir.remove().await;
}
