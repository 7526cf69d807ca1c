//! Speech that comes as a file: WAV, MP3, M4A (AAC), WebM or Ogg (Opus), decoded to what recognition hears.
//!
//! A file from outside may claim and contain anything. It is bounded in bytes, in the time it says it has, and in the
//! time that has been decoded; and it is decoded piece by piece, so that memory does not grow with it.

mod kind;
mod opus;

use std::io::{Cursor, ErrorKind};
use std::time::Duration;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::mix;
use crate::resample::Resampler;

pub use kind::Container;
use opus::OpusStream;

/// The rate of what comes out.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// Samples that are decoded before they are resampled and given.
const GIVEN_AT_ONCE: usize = 16_384;

/// Rates that speech is recorded at.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// Containers count their last packet in or out, and some the decoder's delay.
const TOLERATED: Duration = Duration::from_millis(200);

/// What a file may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    /// Of sound, whether announced or decoded.
    pub seconds: u32,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty")]
    Empty,
    #[error("the file has {bytes} bytes, and {limit} are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the file has more than {limit} seconds of sound")]
    TooLong { limit: u32 },
    #[error("the file is neither WAV nor MP3, M4A, WebM or Ogg")]
    Unrecognised,
    #[error("the file has no sound")]
    NoSound,
    #[error("the file's sound cannot be decoded: {0}")]
    Unsupported(&'static str),
    #[error("the file ends before its sound does")]
    Cut,
    #[error("the file is damaged")]
    Damaged,
}

/// Decodes a file to one channel at 16 kHz, gives it piece by piece, and answers how long it was. Of a file
/// of some length, this takes the processor for less than a hundredth of that time.
///
/// # Errors
///
/// With an error, what has been given is a beginning of the sound.
pub fn decode(file: &[u8], limits: Limits, give: impl FnMut(&[i16])) -> Result<Duration, DecodeError> {
    if file.is_empty() {
        return Err(DecodeError::Empty);
    }
    if file.len() > limits.bytes {
        return Err(DecodeError::TooLarge { bytes: file.len(), limit: limits.bytes });
    }
    let container = Container::of(file).ok_or(DecodeError::Unrecognised)?;
    let mut reader = open(file, container)?;
    let track = reader.default_track(TrackType::Audio).ok_or(DecodeError::NoSound)?.clone();
    let announced = announced(&track, reader.as_ref());
    if announced.is_some_and(|announced| announced > Duration::from_secs(limits.seconds.into())) {
        return Err(DecodeError::TooLong { limit: limits.seconds });
    }
    let mut sound = Sound::new(limits.seconds, give);
    let mut codec = Codec::new(&track)?;
    let (mut good, mut bad) = (0u64, 0u64);
    let has_end = loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break true,
            Err(error) if is_end(&error) => break false,
            Err(_) => return Err(DecodeError::Damaged),
        };
        if packet.track_id == track.id {
            if codec.decode(&packet, &track, &mut sound)? { good += 1 } else { bad += 1 }
        }
    };
    // A few packets cannot be decoded where a stream was cut out of a longer one.
    if bad > good / 4 + 4 {
        return Err(DecodeError::Damaged);
    }
    let heard = sound.finish();
    if heard.is_zero() {
        return Err(DecodeError::NoSound);
    }
    // Files that are streamed while they are made, as browsers do, announce nothing and end anywhere; but Ogg has an end.
    let is_whole = match announced {
        Some(announced) => heard + TOLERATED >= announced,
        None => has_end || container != Container::Ogg,
    };
    if is_whole { Ok(heard) } else { Err(DecodeError::Cut) }
}

fn open(file: &[u8], container: Container) -> Result<Box<dyn FormatReader + '_>, DecodeError> {
    // If symphonia can look at the end, it guesses the length of an MP3 file that does not tell it, and does not begin
    // a WebM file that was cut.
    let source: Box<dyn MediaSource + '_> = match container {
        Container::Mp3 | Container::WebM => Box::new(ReadOnlySource::new(Cursor::new(file))),
        _ => Box::new(Cursor::new(file)),
    };
    let mut hint = Hint::new();
    hint.with_extension(match container {
        Container::Wav => "wav",
        Container::Mp3 => "mp3",
        Container::Mp4 => "m4a",
        Container::WebM => "webm",
        Container::Ogg => "ogg",
    });
    let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
    let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
    symphonia::default::get_probe().probe(&hint, stream, format, metadata).map_err(|error| match error {
        MediaError::IoError(_) => DecodeError::Cut,
        _ => DecodeError::Damaged,
    })
}

/// How long the file says its sound is.
fn announced(track: &Track, reader: &dyn FormatReader) -> Option<Duration> {
    let media = reader.media_info();
    let of_track = track.time_base.zip(track.duration);
    let (base, duration) = of_track.or(media.time_base.zip(media.duration))?;
    let nanoseconds = base.calc_duration_saturating(duration).as_nanos().max(0);
    Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
}

fn is_end(error: &MediaError) -> bool {
    matches!(error, MediaError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof)
}

/// What makes samples of packets.
enum Codec {
    Opus(Box<OpusStream>),
    Other { decoder: Box<dyn AudioDecoder>, samples: Vec<i16> },
}

impl Codec {
    fn new(track: &Track) -> Result<Self, DecodeError> {
        let parameters = track.codec_params.as_ref().and_then(CodecParameters::audio);
        let parameters = parameters.ok_or(DecodeError::Unsupported("its codec is unknown"))?;
        if parameters.codec == CODEC_ID_OPUS {
            let head = parameters.extra_data.as_deref().unwrap_or_default();
            let stream = OpusStream::new(head).ok_or(DecodeError::Unsupported("Opus with many channels"))?;
            return Ok(Self::Opus(Box::new(stream)));
        }
        let decoder =
            symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default());
        let decoder = decoder.map_err(|_| DecodeError::Unsupported("its codec is not known here"))?;
        Ok(Self::Other { decoder, samples: Vec::new() })
    }

    /// Whether the packet could be decoded.
    fn decode(
        &mut self,
        packet: &Packet,
        track: &Track,
        sound: &mut Sound<impl FnMut(&[i16])>,
    ) -> Result<bool, DecodeError> {
        match self {
            Self::Opus(stream) => {
                let Some(samples) = stream.decode(&packet.data) else { return Ok(false) };
                let kept = samples.len() - samples.len().min(trimmed(packet, track));
                sound.take(&samples[..kept], 1, SAMPLE_RATE_HZ)?;
            }
            Self::Other { decoder, samples } => {
                let Ok(buffer) = decoder.decode(packet) else { return Ok(false) };
                let (channels, rate_hz) = (buffer.spec().channels().count(), buffer.spec().rate());
                buffer.copy_to_vec_interleaved(samples);
                sound.take(samples, channels, rate_hz)?;
            }
        }
        Ok(true)
    }
}

/// Samples at the end of an Opus packet that are only there to fill it up.
fn trimmed(packet: &Packet, track: &Track) -> usize {
    let Some(base) = track.time_base else { return 0 };
    let nanoseconds = base.calc_duration_saturating(packet.trim_end).as_nanos().max(0);
    usize::try_from(nanoseconds * i128::from(SAMPLE_RATE_HZ) / 1_000_000_000).unwrap_or(usize::MAX)
}

/// Mixes, resamples, counts and gives what was decoded.
struct Sound<G> {
    give: G,
    limit_seconds: u32,
    rate_hz: u32,
    resampler: Resampler,
    /// Samples by which the resampler is late, which are not given.
    late: usize,
    mono: Vec<i16>,
    ready: Vec<i16>,
    /// At the file's rate.
    taken: u64,
    given: u64,
}

impl<G: FnMut(&[i16])> Sound<G> {
    fn new(limit_seconds: u32, give: G) -> Self {
        let (resampler, rate_hz) = (Resampler::new(SAMPLE_RATE_HZ, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ);
        let (mono, ready) = (Vec::new(), Vec::new());
        Self { give, limit_seconds, rate_hz, resampler, late: 0, mono, ready, taken: 0, given: 0 }
    }

    fn take(&mut self, samples: &[i16], channels: usize, rate_hz: u32) -> Result<(), DecodeError> {
        if self.rate_hz != rate_hz {
            if self.taken > 0 {
                return Err(DecodeError::Unsupported("its sample rate changes"));
            }
            if !RATES_HZ.contains(&rate_hz) {
                return Err(DecodeError::Unsupported("its sample rate is none of speech"));
            }
            self.resampler = Resampler::new(rate_hz, SAMPLE_RATE_HZ);
            self.late = self.resampler.delay();
            self.rate_hz = rate_hz;
        }
        self.taken += (samples.len() / channels.max(1)) as u64;
        if self.taken > u64::from(self.limit_seconds) * u64::from(rate_hz) {
            return Err(DecodeError::TooLong { limit: self.limit_seconds });
        }
        mix::to_mono(samples, channels, &mut self.mono);
        if self.mono.len() >= GIVEN_AT_ONCE {
            self.resampler.process(&self.mono, &mut self.ready);
            self.mono.clear();
            self.give();
        }
        Ok(())
    }

    /// How long it was, in all.
    fn finish(&mut self) -> Duration {
        self.resampler.process(&self.mono, &mut self.ready);
        self.resampler.flush(&mut self.ready);
        self.give();
        Duration::from_nanos(self.given * (1_000_000_000 / u64::from(SAMPLE_RATE_HZ)))
    }

    fn give(&mut self) {
        let late = self.late.min(self.ready.len());
        self.late -= late;
        (self.give)(&self.ready[late..]);
        self.given += (self.ready.len() - late) as u64;
        self.ready.clear();
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
