//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::dev::{self, Options};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::models::{self, Check};
use crate::settings::{self, Settings, environment};
use crate::speech::DEFAULT_MODELS_DIR;
use crate::system::{Role, Roles, System};
use crate::{logging, realtime, replay, serve, softphone};
use secrecy::SecretString;

#[derive(Parser)]
#[command(name = "vocalbridge", about = "The backend for businesses whose AI agents talk by chat and phone")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole system with a Postgres and nats-server of its own
    Dev {
        /// 0: any free port [default: VOCALBRIDGE_PORT, else 8000]
        #[arg(long)]
        port: Option<u16>,
        #[arg(long, default_value = ".data")]
        data_dir: PathBuf,
        /// Seed the demo tenants and stop
        #[arg(long)]
        seed_only: bool,
        /// Throw all data away first
        #[arg(long)]
        fresh: bool,
        /// Postgres, NATS, seed and simulators only; run the roles apart with `serve`
        #[arg(long)]
        services_only: bool,
        /// Do not bring the speech models when they are missing
        #[arg(long)]
        no_models: bool,
    },
    /// Run roles against DATABASE_URL and NATS_URL
    Serve {
        /// Of api, turns, tools, voice, summaries, repricings, webhooks, projections, and workers (all but api and
        /// projections), separated by
        /// commas
        #[arg(long, default_value = "api,workers,projections")]
        roles: Roles,
        /// Instead of VOCALBRIDGE_PORT
        #[arg(long)]
        port: Option<u16>,
    },
    /// Bring the database up to date, as the owner in DATABASE_ADMIN_URL; the role in DATABASE_URL is granted its rights
    Migrate,
    /// Rebuild projections from the log and compare them with the live ones; exit code 3: they differ
    Replay {
        /// None: all
        names: Vec<String>,
        /// All projections (also the meaning of no names)
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Put the rebuilt tables in the live ones' place
        #[arg(long)]
        swap: bool,
        #[arg(long)]
        json: bool,
    },
    /// Call an agent of a running system, and show what was said and how long it took
    Call(softphone::Call),
    /// Write the events' JSON Schemas, samples and docs/events.md
    Schemas {
        /// The root of the checkout
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
    /// Bring the models that hear and speak on this machine: 83 MB, once
    Models {
        /// Instead of VOCALBRIDGE_MODELS_DIR
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print the OpenAPI document
    Openapi,
}

const DIFFERENT: u8 = 3;

/// What the binary does, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let _ = dotenvy::dotenv();
    let command = Cli::parse().command;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vocalbridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `TOKIO_WORKER_THREADS`, else one less than there are cores: nats-server and Postgres want one too, and a hand-over
/// between threads costs more than it brings when there are only two.
fn worker_threads() -> usize {
    let set = environment("TOKIO_WORKER_THREADS").and_then(|threads| threads.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    set.unwrap_or(cores - 1).max(1)
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Dev { port, data_dir, seed_only, fresh, services_only, no_models } => {
            logging::start("warn");
            dev::dev(Options { port, data_dir, seed_only, fresh, services_only, no_models }).await?;
        }
        Command::Serve { roles, port } => {
            logging::start("info");
            let lookup = |name: &str| match (name, port) {
                ("VOCALBRIDGE_PORT", Some(port)) => Some(port.to_string()),
                _ => environment(name),
            };
            let settings = Settings::read(&lookup)?;
            if settings.realtime && roles.have(Role::Voice) {
                realtime::run_ahead();
            }
            serve::serve(settings, roles).await?;
        }
        Command::Migrate => {
            logging::start("info");
            let url = SecretString::from(environment("DATABASE_URL").context("DATABASE_URL is not set")?);
            let admin = environment("DATABASE_ADMIN_URL").map_or_else(|| url.clone(), SecretString::from);
            let role = settings::login_role(&url).context("DATABASE_URL names no user")?;
            projections::migrate(&admin, role).await?;
        }
        Command::Replay { names, all: _, swap, json } => {
            logging::start("warn");
            let system = System::connect(Settings::read(&environment)?).await?;
            let reports = replay::replay(&system, &names, swap).await?;
            print!("{}", replay::render(&reports, json)?);
            if reports.iter().any(|report| !report.differences.is_empty()) {
                return Ok(ExitCode::from(DIFFERENT));
            }
        }
        Command::Call(call) => {
            logging::start("warn");
            softphone::call(call).await?;
        }
        Command::Schemas { root } => {
            for (path, text) in
                events::schema::documents().into_iter().chain([domain::webhooks::document::document()])
            {
                let path = root.join(path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Command::Models { dir } => {
            logging::start("info");
            let set = || environment("VOCALBRIDGE_MODELS_DIR").map(PathBuf::from);
            let dir = dir.or_else(set).unwrap_or_else(|| PathBuf::from(DEFAULT_MODELS_DIR));
            let brought = models::bring(&dir, Check::Hashes).await?;
            println!("{brought} files brought; the speech models are in {}", dir.display());
        }
        Command::Openapi => println!("{}", serde_json::to_string_pretty(&api::openapi())?),
    }
    Ok(ExitCode::SUCCESS)
}
