//! The read side: tables in Postgres that follow from the log, and the questions asked of them.
//!
//! A projection is a pure function of the log: [`runner::run`] applies each batch of entries and moves the checkpoint in
//! one transaction, and [`rebuild::rebuild`] proves at any time that the tables are what the log says. Beside them stand
//! the [`keyring`] and the [`reservations`], which the log cannot give back, and [`snapshots`] and [`price_books`], caches.
//!
//! It must never have an effect outside its tables, never open a sealed value while projecting, never read the clock
//! for a row's value, and never skip an event. It is the only place that speaks SQL.
//!
//! Start with [`projection`] (the list), then any projection's file: row types, `apply` and queries together; then
//! [`runner`].

pub mod projection;

pub mod appointments;
pub mod archive;
mod budgets;
pub mod calls;
pub mod configuration;
pub mod jobs;
pub mod ledger;
pub mod provider_calls;
pub mod tool_executions;
pub mod transcripts;
pub mod voice_messages;
pub mod webhooks;

pub mod compare;
pub mod progress;
pub mod rebuild;
pub mod runner;
pub mod source;

pub mod database;
pub mod keyring;
pub mod price_books;
pub mod reservations;
pub mod sealed_file;
pub mod snapshots;

mod batch;
mod checkpoints;
mod column;

pub use database::{Config, Database, Error, MigrationError, Page, migrate};
pub use keyring::{InvalidSecretKey, Keyring, KeyringError};
pub use price_books::PriceBooks;
pub use progress::Progress;
pub use projection::Projection;
pub use sealed_file::SealedFile;
pub use source::{Entries, EntrySource, SourceError};
