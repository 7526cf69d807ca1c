//! Reading the files that come with the voice.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

use super::super::ModelError;

/// JSON, unpacked when the file's name ends with `.gz`.
pub(super) fn read_json<T: DeserializeOwned>(models_dir: &Path, file: &'static str) -> Result<T, ModelError> {
    let broken = |detail: String| ModelError::File { file, detail };
    let opened = File::open(models_dir.join(file)).map_err(|error| broken(error.to_string()))?;
    let mut reader: Box<dyn Read> = if file.ends_with(".gz") {
        Box::new(GzDecoder::new(BufReader::new(opened)))
    } else {
        Box::new(opened)
    };
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| broken(error.to_string()))
}
