//! Where in a caller's audio somebody speaks.
//!
//! [`Vad`] says for each 20 ms frame how likely it holds speech; [`SpeechGate`] makes of that a beginning and an end,
//! against clicks and steady noise.

use earshot::Detector;

/// Samples of one frame: 20 ms at 16 kHz.
pub const FRAME_SAMPLES: usize = 320;
/// Length of one frame.
pub const FRAME_MS: u32 = 20;
/// What the detector takes at once: 16 ms at 16 kHz (earshot's documentation).
const WINDOW_SAMPLES: usize = 256;
/// The detector's window is 48 ms long and it looks at three of them, so it is sure of a beginning so much later than the
/// level is. Seen on recorded speech.
const DETECTOR_LAG_FRAMES: u32 = 2;

/// Frames below this level are silence, in dB of full scale.
const QUIETEST_DBFS: f32 = -60.0;
/// After so many frames of silence the detector has settled, and one more changes nothing: half a second.
const SETTLED_FRAMES: u32 = 25;

/// The likelihood of speech, frame by frame. One per audio stream; about 9 KiB.
///
/// Silence need not cost anything: what a gate takes for silence, whatever is said of it, need not be looked at once the
/// detector has settled. For the detector a long silence is then a short one.
pub struct Vad {
    detector: Box<Detector>,
    /// Samples that do not yet fill a window: less than one.
    waiting: Vec<i16>,
    last: f32,
    silent_frames: u32,
}

impl Default for Vad {
    fn default() -> Self {
        Self::new()
    }
}

impl Vad {
    #[must_use]
    pub fn new() -> Self {
        Self {
            detector: Detector::default_boxed(),
            waiting: Vec::with_capacity(FRAME_SAMPLES + WINDOW_SAMPLES),
            last: 0.0,
            silent_frames: 0,
        }
    }

    /// What [`Vad::push`] would say of a frame of this level, where it need not be looked at; `None` where it must be. To
    /// be asked before each frame.
    pub fn without_looking(&mut self, level_dbfs: f32) -> Option<f32> {
        self.silent_frames = if level_dbfs < QUIETEST_DBFS { self.silent_frames + 1 } else { 0 };
        (self.silent_frames > SETTLED_FRAMES).then_some(self.last)
    }

    /// How likely `samples` (mono, 16 kHz, usually one frame) hold speech, from 0 to 1: the highest of the windows that
    /// end in them, and the last known value when none does.
    pub fn push(&mut self, samples: &[i16]) -> f32 {
        self.waiting.extend_from_slice(samples);
        let mut windows = self.waiting.chunks_exact(WINDOW_SAMPLES);
        let highest = windows.by_ref().map(|window| self.detector.predict_i16(window)).reduce(f32::max);
        let rest = windows.remainder().len();
        self.waiting.drain(..self.waiting.len() - rest);
        self.last = highest.unwrap_or(self.last);
        self.last
    }
}

/// When likelihoods count as speech.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// From this likelihood on a frame may begin speech.
    pub begin_probability: f32,
    /// From this likelihood on a frame continues speech that has begun.
    pub continue_probability: f32,
    /// So much voice within twice the time is a beginning.
    pub begin_ms: u32,
    /// So long without voice ends the stretch. Not the end of the caller's turn: see [`crate::endpoint`].
    pub end_ms: u32,
    /// Frames below this level are silence, in dB of full scale.
    pub quietest_dbfs: f32,
    /// Voice must stand so far above the noise floor, in dB.
    pub above_floor_db: f32,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            begin_probability: 0.6,
            continue_probability: 0.35,
            begin_ms: 60,
            end_ms: 200,
            quietest_dbfs: QUIETEST_DBFS,
            above_floor_db: 6.0,
        }
    }
}

/// A change at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Somebody speaks, since `frame`, which lies a little before the frame that made it certain.
    SpeechStarted { frame: u32 },
    /// Nobody speaks any more; `frame` was the last with voice.
    SpeechEnded { frame: u32 },
}

/// What is known after a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameFacts {
    /// The frame belongs to speech (before a beginning is certain: may belong).
    pub voiced: bool,
    pub change: Option<Change>,
}

/// Stretches of speech, from likelihoods and levels.
pub struct SpeechGate {
    config: GateConfig,
    floor: NoiseFloor,
    speaking: bool,
    /// Voiced or not, newest in the lowest bit.
    recent: u64,
    /// The first frame of the voiced run that may become a beginning.
    run_began: Option<u32>,
    last_voiced: Option<u32>,
    /// How many frames in a row were loud enough but not yet likely enough.
    loud_before: u32,
}

impl SpeechGate {
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            floor: NoiseFloor::default(),
            speaking: false,
            recent: 0,
            run_began: None,
            last_voiced: None,
            loud_before: 0,
        }
    }

    /// Takes the next frame: its number, its level, and what [`Vad`] said of it. Numbers rise by one.
    pub fn push(&mut self, frame: u32, level_dbfs: f32, probability: f32) -> FrameFacts {
        let quiet = probability < self.config.continue_probability;
        let floor = self.floor.push(level_dbfs, quiet);
        let loud_enough = level_dbfs >= self.config.quietest_dbfs
            && floor.is_none_or(|floor| level_dbfs >= floor + self.config.above_floor_db);
        let needed =
            if self.speaking { self.config.continue_probability } else { self.config.begin_probability };
        let voiced = loud_enough && probability >= needed;
        self.recent = self.recent << 1 | u64::from(voiced);
        if voiced {
            let earliest = self.last_voiced.map_or(0, |last| last + 1);
            let began =
                frame.saturating_sub(self.loud_before.min(DETECTOR_LAG_FRAMES)).max(earliest.min(frame));
            self.run_began.get_or_insert(began);
            self.last_voiced = Some(frame);
        }
        self.loud_before = if loud_enough && !voiced { self.loud_before + 1 } else { 0 };
        let change = if self.speaking { self.ending(frame) } else { self.beginning() };
        FrameFacts { voiced, change }
    }

    /// Whether a stretch of speech is under way.
    #[must_use]
    pub fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// The newest frame with voice. Before a beginning is certain it may be a click.
    #[must_use]
    pub fn last_voiced(&self) -> Option<u32> {
        self.last_voiced
    }

    fn beginning(&mut self) -> Option<Change> {
        let needed = (self.config.begin_ms / FRAME_MS).clamp(1, 32);
        let window = (1_u64 << (2 * needed - 1)) | ((1_u64 << (2 * needed - 1)) - 1);
        if (self.recent & window) == 0 {
            self.run_began = None;
        }
        if (self.recent & window).count_ones() < needed {
            return None;
        }
        self.speaking = true;
        self.run_began.map(|frame| Change::SpeechStarted { frame })
    }

    fn ending(&mut self, frame: u32) -> Option<Change> {
        let last = self.last_voiced?;
        if frame.saturating_sub(last) * FRAME_MS < self.config.end_ms {
            return None;
        }
        self.speaking = false;
        self.recent = 0;
        self.run_began = None;
        Some(Change::SpeechEnded { frame: last })
    }
}

/// dB of full scale of the frame's root mean square.
#[must_use]
pub fn level_dbfs(samples: &[i16]) -> f32 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let mean = energy / samples.len().max(1) as f64;
    // One step of 16 bits, so that zeros have a level too.
    let level = 10.0 * (mean.max(1.0) / 32768.0_f64.powi(2)).log10();
    level.max(-96.0) as f32
}

/// The level of what is always there: the lowest tenth of a second or so of the last three seconds. Speech has a gap in
/// any three seconds; a fan has none.
#[derive(Default)]
struct NoiseFloor {
    /// The last frames, which are averaged: single frames of even noise are some dB too low.
    frames: [f32; NoiseFloor::SMOOTHED],
    /// The lowest level of each finished stretch.
    stretches: [f32; NoiseFloor::STRETCHES],
    lowest: f32,
    heard: usize,
    quiet: usize,
}

impl NoiseFloor {
    const SMOOTHED: usize = 4;
    const STRETCHES: usize = 6;
    const STRETCH_FRAMES: usize = 25;
    /// So many frames without voice show the floor before the first three seconds have passed.
    const QUIET_FRAMES: usize = 10;

    /// `None` at first, when speech could be taken for noise.
    fn push(&mut self, level_dbfs: f32, quiet: bool) -> Option<f32> {
        self.frames[self.heard % Self::SMOOTHED] = level_dbfs;
        self.heard += 1;
        self.quiet += usize::from(quiet);
        if self.heard < Self::SMOOTHED {
            return None;
        }
        let smooth = self.frames.iter().sum::<f32>() / Self::SMOOTHED as f32;
        self.lowest = self.lowest.min(smooth);
        let finished = self.heard / Self::STRETCH_FRAMES;
        let known = &self.stretches[..finished.min(Self::STRETCHES)];
        let floor = known.iter().copied().fold(self.lowest, f32::min);
        if self.heard.is_multiple_of(Self::STRETCH_FRAMES) {
            self.stretches[(finished - 1) % Self::STRETCHES] = self.lowest;
            self.lowest = 0.0;
        }
        (finished >= Self::STRETCHES || self.quiet >= Self::QUIET_FRAMES).then_some(floor)
    }
}

#[cfg(test)]
#[path = "vad_tests.rs"]
mod tests;
