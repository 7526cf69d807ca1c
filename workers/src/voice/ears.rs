//! What the caller says: from frames to speech, from speech to words.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::voice_turn::Input;
use futures_util::future::BoxFuture;
use nats::media::AudioFormat;
use vendors::stt::{SttEngines, SttError, SttTarget, Transcript, Utterance};
use voice::g711;
use voice::resample::Resampler;
use voice::vad::{Change, FRAME_SAMPLES, GateConfig, SpeechGate, Vad};

/// Audio that is kept because an utterance may turn out to have begun in it: 1 s.
const RECENT_FRAMES: u32 = 50;
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
    format: AudioFormat,
    upsampler: Option<Resampler>,
    vad: Vad,
    gate: SpeechGate,
    /// 16 kHz samples of the newest frames, the last of which is the one before `next_frame`.
    recent: VecDeque<i16>,
    next_frame: u32,
    utterance: Option<Utterance>,
    /// Silence behind the utterance that it was not given yet: when nothing comes after it, the words of the pause's
    /// beginning are the words of the whole.
    silence: Vec<i16>,
    silent_frames: u32,
    finishing: Option<BoxFuture<'static, Result<Option<Transcript>, SttError>>>,
    samples: Vec<i16>,
    resampled: Vec<i16>,
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
            format,
            upsampler: (format.sample_rate_hz() != 16_000)
                .then(|| Resampler::new(format.sample_rate_hz(), 16_000)),
            vad: Vad::new(),
            gate: SpeechGate::new(GateConfig::default()),
            recent: VecDeque::with_capacity(RECENT_FRAMES as usize * FRAME_SAMPLES),
            next_frame: first_frame,
            utterance: None,
            silence: Vec::new(),
            silent_frames: 0,
            finishing: None,
            samples: Vec::with_capacity(FRAME_SAMPLES),
            resampled: Vec::with_capacity(FRAME_SAMPLES),
        }
    }

    pub(super) fn next_frame(&self) -> u32 {
        self.next_frame
    }

    /// Hears one frame; answers what the floor is to be told. Frames that were heard are passed over, those that never
    /// came were silent.
    pub(super) fn hear(&mut self, frame: u32, audio: &[u8], mut tell: impl FnMut(Input)) {
        if frame < self.next_frame || audio.len() != self.format.bytes_per_frame() {
            return;
        }
        let missing = (frame - self.next_frame).min(MOST_MISSING);
        for number in frame - missing..frame {
            self.samples.clear();
            self.samples.resize(FRAME_SAMPLES, 0);
            self.listen_to(number, &mut tell);
        }
        self.decode(audio);
        self.listen_to(frame, &mut tell);
    }

    /// Leaves one frame of 16 kHz samples in `self.samples`.
    fn decode(&mut self, audio: &[u8]) {
        self.samples.clear();
        match self.format {
            AudioFormat::Mulaw8k => g711::mulaw_to_pcm(audio, &mut self.samples),
            AudioFormat::Pcm16k => {
                self.samples.extend(audio.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
            }
        }
        if let Some(upsampler) = &mut self.upsampler {
            self.resampled.clear();
            upsampler.process(&self.samples, &mut self.resampled);
            std::mem::swap(&mut self.samples, &mut self.resampled);
        }
    }

    fn listen_to(&mut self, number: u32, tell: &mut impl FnMut(Input)) {
        let probability = self.vad.push(&self.samples);
        let facts = self.gate.push(number, &self.samples, probability);
        let excess =
            (self.recent.len() + self.samples.len()).saturating_sub(RECENT_FRAMES as usize * FRAME_SAMPLES);
        self.recent.drain(..excess.min(self.recent.len()));
        self.recent.extend(&self.samples);
        self.next_frame = number + 1;
        let voiced = facts.voiced && self.gate.is_speaking();
        self.hear_utterance(voiced);
        if let Some(Change::SpeechStarted { frame }) = facts.change {
            tell(Input::SpeechStarted { from: frame, number });
        }
        tell(Input::Frame { number, voiced });
    }

    fn hear_utterance(&mut self, voiced: bool) {
        let Some(utterance) = &mut self.utterance else { return };
        self.silent_frames = if voiced { 0 } else { self.silent_frames + 1 };
        if self.silent_frames > PAUSE_FRAMES {
            return self.silence.extend_from_slice(&self.samples);
        }
        utterance.push(&self.silence);
        self.silence.clear();
        utterance.push(&self.samples);
    }

    /// Begins an utterance with what was heard from frame `from` on.
    ///
    /// # Errors
    /// When nobody can listen.
    pub(super) fn listen(&mut self, from: u32) -> Result<(), SttError> {
        let mut utterance = self.engines.open(&self.target)?;
        let since = self.next_frame.saturating_sub(from.saturating_sub(BEFORE_FRAMES)) as usize;
        let begins = self.recent.len().saturating_sub(since * FRAME_SAMPLES);
        let (older, newer) = self.recent.as_slices();
        utterance.push(older.get(begins..).unwrap_or_default());
        utterance.push(newer.get(begins.saturating_sub(older.len())..).unwrap_or_default());
        self.utterance = Some(utterance);
        self.silence.clear();
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
    }

    /// The utterance is over; [`Ears::next`] will have its words.
    pub(super) fn finish(&mut self) {
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
