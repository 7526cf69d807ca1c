//! Speaks one piece of text: from the words to frames in the socket's own format.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nats::media::AudioFormat;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use vendors::tts::{SpeechFormat, TtsEngines, TtsError, TtsTarget};
use voice::g711;
use voice::resample::Resampler;

/// Frames in one message: 200 ms.
const CHUNK_FRAMES: usize = 10;
/// Messages that were made and not taken; when full the engine waits.
const MADE_AHEAD: usize = 8;

/// What became of a piece.
#[derive(Debug)]
pub(super) enum Made {
    /// Whole frames, at most a second of them.
    Audio(Bytes),
    /// That was all of it.
    Done {
        provider: String,
        model: String,
        audio_ms: u64,
    },
    Failed(TtsError),
}

/// Whose voice it is.
#[derive(Clone)]
pub(super) struct Voice {
    pub engines: Arc<TtsEngines>,
    pub target: TtsTarget,
    pub format: AudioFormat,
}

impl Voice {
    /// Begins to speak `words`, without the first `skip_ms` of their audio. Dropping the receiver cancels.
    pub(super) fn speak(&self, tasks: &TaskTracker, words: String, skip_ms: u32) -> mpsc::Receiver<Made> {
        let (made, taken) = mpsc::channel(MADE_AHEAD);
        let voice = self.clone();
        tasks.spawn(async move {
            // Cancel-safe: who no longer listens wants nothing of it.
            tokio::select! {
                () = made.closed() => {}
                last = voice.make(&words, skip_ms, &made) => {
                    let _ = made.send(last.unwrap_or_else(Made::Failed)).await;
                }
            }
        });
        taken
    }

    async fn make(&self, words: &str, skip_ms: u32, made: &mpsc::Sender<Made>) -> Result<Made, TtsError> {
        let mut speaking = self.engines.speak(&self.target, words, wanted(self.format)).await?;
        let mut coder = Coder::new(speaking.format(), self.format);
        let mut skip = bytes_of(skip_ms, self.format);
        let mut audio_ms = 0;
        loop {
            let next = speaking.next().await?;
            match &next {
                Some(audio) => coder.push(audio),
                None => coder.finish(),
            }
            while let Some(frames) = coder.frames(next.is_none()) {
                audio_ms += self.format.duration_ms(frames.len());
                let skipped = skip.min(frames.len());
                skip -= skipped;
                if skipped < frames.len() && made.send(Made::Audio(frames.slice(skipped..))).await.is_err() {
                    break;
                }
            }
            if next.is_none() {
                let (provider, model) = (speaking.provider().to_owned(), speaking.model().to_owned());
                return Ok(Made::Done { provider, model, audio_ms });
            }
        }
    }
}

fn wanted(format: AudioFormat) -> SpeechFormat {
    match format {
        AudioFormat::Mulaw8k => SpeechFormat::Mulaw8k,
        AudioFormat::Pcm16k => SpeechFormat::Pcm16 { sample_rate_hz: format.sample_rate_hz() },
    }
}

/// Whole frames of so many milliseconds.
fn bytes_of(ms: u32, format: AudioFormat) -> usize {
    (ms / nats::media::FRAME_MS) as usize * format.bytes_per_frame()
}

/// From what an engine delivers to what a socket takes.
struct Coder {
    from: SpeechFormat,
    to: AudioFormat,
    resampler: Option<Resampler>,
    /// The odd byte of a sample that was cut.
    odd: Option<u8>,
    samples: Vec<i16>,
    resampled: Vec<i16>,
    coded: BytesMut,
}

impl Coder {
    fn new(from: SpeechFormat, to: AudioFormat) -> Self {
        let resampler = match (from, to) {
            (SpeechFormat::Pcm16 { sample_rate_hz }, to) if sample_rate_hz != to.sample_rate_hz() => {
                Some(Resampler::new(sample_rate_hz, to.sample_rate_hz()))
            }
            (SpeechFormat::Mulaw8k, AudioFormat::Pcm16k) => Some(Resampler::new(8_000, 16_000)),
            _ => None,
        };
        Self { from, to, resampler, odd: None, samples: vec![], resampled: vec![], coded: BytesMut::new() }
    }

    fn push(&mut self, audio: &[u8]) {
        if (self.from, self.to) == (SpeechFormat::Mulaw8k, AudioFormat::Mulaw8k) {
            return self.coded.extend_from_slice(audio);
        }
        self.samples.clear();
        match self.from {
            SpeechFormat::Mulaw8k => g711::mulaw_to_pcm(audio, &mut self.samples),
            SpeechFormat::Pcm16 { .. } => {
                let mut bytes = self.odd.take().into_iter().chain(audio.iter().copied());
                while let Some(low) = bytes.next() {
                    match bytes.next() {
                        Some(high) => self.samples.push(i16::from_le_bytes([low, high])),
                        None => self.odd = Some(low),
                    }
                }
            }
        }
        let samples = match &mut self.resampler {
            None => &self.samples,
            Some(resampler) => {
                self.resampled.clear();
                resampler.process(&self.samples, &mut self.resampled);
                &self.resampled
            }
        };
        code(samples, self.to, &mut self.coded);
    }

    /// Nothing more comes: what the resampler still holds is coded, and the last frame made full with silence.
    fn finish(&mut self) {
        if let Some(mut resampler) = self.resampler.take() {
            self.resampled.clear();
            resampler.flush(&mut self.resampled);
            code(&self.resampled, self.to, &mut self.coded);
        }
        let silence = match self.to {
            AudioFormat::Mulaw8k => g711::MULAW_SILENCE,
            AudioFormat::Pcm16k => 0,
        };
        let whole = self.coded.len().next_multiple_of(self.to.bytes_per_frame());
        self.coded.resize(whole, silence);
    }

    /// Some whole frames; fewer than a message's worth only at the end.
    fn frames(&mut self, is_end: bool) -> Option<Bytes> {
        let frame = self.to.bytes_per_frame();
        let whole = (self.coded.len() / frame).min(CHUNK_FRAMES);
        let enough = whole == CHUNK_FRAMES || (is_end && whole > 0);
        enough.then(|| self.coded.split_to(whole * frame).freeze())
    }
}

fn code(samples: &[i16], to: AudioFormat, coded: &mut BytesMut) {
    match to {
        AudioFormat::Mulaw8k => {
            let mut bytes = Vec::with_capacity(samples.len());
            g711::pcm_to_mulaw(samples, &mut bytes);
            coded.extend_from_slice(&bytes);
        }
        AudioFormat::Pcm16k => {
            samples.iter().for_each(|sample| coded.extend_from_slice(&sample.to_le_bytes()))
        }
    }
}
