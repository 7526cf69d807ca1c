//! ONNX Runtime, loaded from its library once per process.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::Session;

use super::{LIBRARY, ModelError};

static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();

/// A model, ready to run on the thread that asks it: a pool of the runtime's own would not know whose turn it is.
///
/// # Errors
/// When the library or the model cannot be loaded.
pub(super) fn session(models_dir: &Path, file: &str) -> Result<Session, ModelError> {
    let environment = ENVIRONMENT.get_or_init(|| load(&models_dir.join(LIBRARY)));
    let environment = environment.as_ref().map_err(|error| ModelError::Runtime(error.clone()))?;
    let mut builder = Session::builder(environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
    Ok(builder.commit_from_file(models_dir.join(file))?)
}

fn load(library: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(library).map_err(|error| error.to_string())?;
    builder.build().map_err(|error| error.to_string())
}
