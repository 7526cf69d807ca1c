//! What the caller says: from frames to speech, from speech to words.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use domain::voice_turn::Input;
use futures_util::future::BoxFuture;
use nats::media::{AudioFormat, FRAME_MS};
use vendors::stt::{SAMPLE_RATE_HZ, SttEngines, SttError, SttTarget, Transcript, Utterance};
use voice::g711;
use voice::resample::Resampler;
use voice::vad::{Change, FRAME_SAMPLES, GateConfig, SpeechGate, Vad, level_dbfs};

/// Audio that is kept because an utterance may turn out to have begun in it: 1 s.
const RECENT_FRAMES: usize = 50;
/// An utterance is given this much of what was before it: the first sound is soft.
const BEFORE_FRAMES: u32 = 5;
/// Silence that an utterance is given at once; as long as `Patience::partial_at_pause`.
const PAUSE_FRAMES: u32 = 6;
/// More frames than this in a row that never came are not made up for.
const MOST_MISSING: u32 = 50;

/// What was understood.
pub(super) enum Words {
    /// So far.
    Partial(String),
    /// Of the utterance that was finished; `None`: nobody listened.
    Whole(Result<Option<Transcript>, SttError>),
}

/// Who listens to the caller.
pub(super) struct Ears {
    engines: Arc<SttEngines>,
    target: SttTarget,
    decoder: Decoder,
    vad: Vad,
    gate: SpeechGate,
    /// The newest frames as they came, the last of which is the one before `next_frame`; empty where none came.
    recent: VecDeque<Bytes>,
    next_frame: u32,
    utterance: Option<Utterance>,
    /// Silence behind the utterance that it was not given yet: when nothing comes after it, the words of the pause's
    /// beginning are the words of the whole.
    silence: Vec<i16>,
    silent_frames: u32,
    finishing: Option<BoxFuture<'static, Result<Option<Transcript>, SttError>>>,
}

impl Ears {
    /// Hears from `first_frame` on.
    pub(super) fn new(
        engines: Arc<SttEngines>,
        target: SttTarget,
        format: AudioFormat,
        first_frame: u32,
    ) -> Self {
        Self {
            engines,
            target,
            decoder: Decoder::new(format),
            vad: Vad::new(),
            gate: SpeechGate::new(GateConfig::default()),
            recent: VecDeque::with_capacity(RECENT_FRAMES),
            next_frame: first_frame,
            utterance: None,
            silence: Vec::new(),
            silent_frames: 0,
            finishing: None,
        }
    }

    pub(super) fn next_frame(&self) -> u32 {
        self.next_frame
    }

    /// Hears one frame; answers what the floor is to be told. Frames that were heard are passed over, those that never
    /// came were silent.
    pub(super) fn hear(&mut self, frame: u32, audio: &Bytes, mut tell: impl FnMut(Input)) {
        if frame < self.next_frame || audio.len() != self.decoder.format.bytes_per_frame() {
            return;
        }
        let missing = (frame - self.next_frame).min(MOST_MISSING);
        for number in frame - missing..frame {
            self.listen_to(number, Bytes::new(), &mut tell);
        }
        self.listen_to(frame, audio.clone(), &mut tell);
    }

    fn listen_to(&mut self, number: u32, audio: Bytes, tell: &mut impl FnMut(Input)) {
        let level_dbfs = self.decoder.take(&audio);
        let silence = self.vad.without_looking(level_dbfs);
        if silence.is_none() || self.utterance.is_some() {
            self.decoder.decode();
        }
        let probability = silence.unwrap_or_else(|| self.vad.push(self.decoder.samples()));
        let facts = self.gate.push(number, level_dbfs, probability);
        let voiced = facts.voiced && self.gate.is_speaking();
        if let Some(utterance) = &mut self.utterance {
            let samples = self.decoder.samples();
            self.silent_frames = if voiced { 0 } else { self.silent_frames + 1 };
            if self.silent_frames > PAUSE_FRAMES {
                self.silence.extend_from_slice(samples);
            } else {
                utterance.push(&self.silence);
                self.silence.clear();
                utterance.push(samples);
            }
        }
        if self.recent.len() == RECENT_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back(audio);
        self.next_frame = number + 1;
        if let Some(Change::SpeechStarted { frame }) = facts.change {
            tell(Input::SpeechStarted { from: frame, number });
        }
        tell(Input::Frame { number, voiced });
    }

    /// Begins an utterance with what was heard from frame `from` on.
    ///
    /// # Errors
    /// When nobody can listen.
    pub(super) fn listen(&mut self, from: u32) -> Result<(), SttError> {
        let mut utterance = self.engines.open(&self.target)?;
        let since = self.next_frame.saturating_sub(from.saturating_sub(BEFORE_FRAMES)) as usize;
        let begins = self.recent.len().saturating_sub(since);
        // One frame more than is wanted, so that the decoder is where it was then.
        let mut decoder = Decoder::new(self.decoder.format);
        for (place, audio) in self.recent.iter().enumerate().skip(begins.saturating_sub(1)) {
            decoder.take(audio);
            decoder.decode();
            if place >= begins {
                utterance.push(decoder.samples());
            }
        }
        self.utterance = Some(utterance);
        self.silence = Vec::new();
        self.silent_frames = 0;
        Ok(())
    }

    pub(super) fn want_partial(&mut self) {
        if let Some(utterance) = &mut self.utterance {
            utterance.want_partial();
        }
    }

    pub(super) fn discard(&mut self) {
        self.utterance = None;
        self.silence = Vec::new();
    }

    /// The utterance is over; [`Ears::next`] will have its words.
    pub(super) fn finish(&mut self) {
        self.silence = Vec::new();
        self.finishing = Some(match self.utterance.take() {
            Some(utterance) => Box::pin(async { utterance.finish().await.map(Some) }),
            // Nobody could listen when it began.
            None => Box::pin(async { Ok(None) }),
        });
    }

    /// The next words. Cancel-safe; waits for ever while none are asked for.
    pub(super) async fn next(&mut self) -> Words {
        let Self { utterance, finishing, .. } = self;
        let partial = async {
            match utterance {
                Some(utterance) => utterance.partial().await,
                None => std::future::pending().await,
            }
        };
        let whole = async {
            match finishing {
                Some(finishing) => finishing.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            words = whole => {
                self.finishing = None;
                Words::Whole(words)
            }
            words = partial => Words::Partial(words),
        }
    }
}

/// From frames as they come to 16 kHz samples.
struct Decoder {
    format: AudioFormat,
    upsampler: Option<Resampler>,
    /// The frame at its own rate.
    taken: Vec<i16>,
    resampled: Vec<i16>,
}

impl Decoder {
    fn new(format: AudioFormat) -> Self {
        let rate_hz = format.sample_rate_hz();
        let upsampler = (rate_hz != SAMPLE_RATE_HZ).then(|| Resampler::new(rate_hz, SAMPLE_RATE_HZ));
        let (taken, resampled) = (Vec::with_capacity(FRAME_SAMPLES), Vec::new());
        Self { format, upsampler, taken, resampled }
    }

    /// Takes one frame, an empty one being silence, and answers its level in dB of full scale.
    fn take(&mut self, audio: &[u8]) -> f32 {
        self.taken.clear();
        match self.format {
            AudioFormat::Mulaw8k => g711::mulaw_to_pcm(audio, &mut self.taken),
            AudioFormat::Pcm16k => {
                self.taken.extend(audio.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
            }
        }
        if audio.is_empty() {
            self.taken.resize((self.format.sample_rate_hz() / 1_000 * FRAME_MS) as usize, 0);
        }
        level_dbfs(&self.taken)
    }

    /// Brings the frame to 16 kHz.
    fn decode(&mut self) {
        if let Some(upsampler) = &mut self.upsampler {
            self.resampled.clear();
            upsampler.process(&self.taken, &mut self.resampled);
        }
    }

    /// What [`Decoder::decode`] made.
    fn samples(&self) -> &[i16] {
        if self.upsampler.is_some() { &self.resampled } else { &self.taken }
    }
}
