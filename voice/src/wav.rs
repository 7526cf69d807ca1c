//! A recording as the WAV file that is downloaded: 16 bits, stereo, at the call's sample rate.
//!
//! The file never exists. Its length follows from the number of frames, and any range of its bytes from the segments
//! that the range touches.

use std::ops::Range;

use crate::frames::FrameFormat;
use crate::g711;
use crate::recording::{SEGMENT_FRAMES, stereo_frame_bytes};

/// Bytes before the samples.
pub const HEADER_BYTES: usize = 44;

const CHANNELS: u16 = 2;
const BITS: u16 = 16;

/// The file of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavFile {
    format: FrameFormat,
    frames: u32,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes of the header.
    Header(Range<usize>),
    /// These bytes of what [`segment_pcm`] makes of the segment with this index.
    Segment { index: u32, bytes: Range<usize> },
}

impl WavFile {
    /// A recording whose last segment has this index and, as it is kept, this length in bytes.
    #[must_use]
    pub fn new(format: FrameFormat, last_index: u32, last_bytes: usize) -> Self {
        let last_frames = last_bytes.div_ceil(stereo_frame_bytes(format)) as u32;
        Self { format, frames: last_index * SEGMENT_FRAMES + last_frames.min(SEGMENT_FRAMES) }
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        HEADER_BYTES as u64 + self.sample_bytes()
    }

    /// The bytes before the samples. A recording of more than four gigabytes (18 hours) says that it has four.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let rate_hz = self.format.sample_rate_hz();
        let set = CHANNELS * BITS / 8;
        let samples = u32::try_from(self.sample_bytes()).unwrap_or(u32::MAX);
        let mut header = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(b"RIFF");
        put(&samples.saturating_add(HEADER_BYTES as u32 - 8).to_le_bytes());
        put(b"WAVEfmt ");
        put(&16u32.to_le_bytes());
        put(&1u16.to_le_bytes()); // PCM
        put(&CHANNELS.to_le_bytes());
        put(&rate_hz.to_le_bytes());
        put(&(rate_hz * u32::from(set)).to_le_bytes());
        put(&set.to_le_bytes());
        put(&BITS.to_le_bytes());
        put(b"data");
        put(&samples.to_le_bytes());
        header
    }

    /// What a range of the file's bytes is made of, in order. Beyond its end there is nothing.
    pub fn parts(&self, range: Range<u64>) -> impl Iterator<Item = Part> + use<> {
        let header = HEADER_BYTES as u64;
        let end = range.end.min(self.length());
        let range = range.start.min(end)..end;
        let of_header = range.start.min(header) as usize..range.end.min(header) as usize;
        let samples = range.start.saturating_sub(header)..range.end.saturating_sub(header);
        let length = u64::from(SEGMENT_FRAMES) * self.frame_bytes();
        let segments = samples.start / length..samples.end.div_ceil(length);
        let of_segments = segments.map(move |index| {
            let first = index * length;
            let bytes = samples.start.max(first) - first..samples.end.min(first + length) - first;
            Part::Segment { index: index as u32, bytes: bytes.start as usize..bytes.end as usize }
        });
        let is_there = |part: &Part| match part {
            Part::Header(bytes) | Part::Segment { bytes, .. } => !bytes.is_empty(),
        };
        std::iter::once(Part::Header(of_header)).chain(of_segments).filter(is_there)
    }

    /// The bytes of the file that segment `index` stands for, so that one that was lost can be made up with zeros.
    #[must_use]
    pub fn segment_bytes(&self, index: u32) -> usize {
        let frames = self.frames.saturating_sub(index.saturating_mul(SEGMENT_FRAMES)).min(SEGMENT_FRAMES);
        frames as usize * self.frame_bytes() as usize
    }

    fn frame_bytes(&self) -> u64 {
        u64::from(self.format.sample_rate_hz() / 50) * u64::from(CHANNELS * BITS / 8)
    }

    fn sample_bytes(&self) -> u64 {
        u64::from(self.frames) * self.frame_bytes()
    }
}

/// A segment as it is kept, made into the file's samples.
#[must_use]
pub fn segment_pcm(format: FrameFormat, segment: Vec<u8>) -> Vec<u8> {
    match format {
        FrameFormat::Pcm16k => segment,
        FrameFormat::Mulaw8k => {
            let mut samples = Vec::with_capacity(segment.len());
            g711::mulaw_to_pcm(&segment, &mut samples);
            samples.into_iter().flat_map(i16::to_le_bytes).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recording::{Side, StereoWriter};

    /// A recording of so many frames: its file, and its segments.
    fn recorded(format: FrameFormat, frames: u32) -> (WavFile, Vec<Vec<u8>>) {
        let (mut writer, mut segments) = (StereoWriter::new(format), Vec::new());
        for frame in 0..frames {
            let data: Vec<u8> =
                (0..format.bytes_per_frame()).map(|at| (at as u32 * 31 + frame) as u8).collect();
            writer.push(Side::Caller, frame, data, |segment| segments.push(segment.data));
        }
        writer.finish(|segment| segments.push(segment.data));
        let last = segments.last().unwrap();
        (WavFile::new(format, segments.len() as u32 - 1, last.len()), segments)
    }

    /// A range of the file's bytes.
    fn read(file: &WavFile, format: FrameFormat, segments: &[Vec<u8>], range: Range<u64>) -> Vec<u8> {
        let part = |part| match part {
            Part::Header(bytes) => file.header()[bytes].to_vec(),
            Part::Segment { index, bytes } => {
                let pcm = segment_pcm(format, segments[index as usize].clone());
                assert_eq!(pcm.len(), file.segment_bytes(index));
                pcm[bytes].to_vec()
            }
        };
        file.parts(range).flat_map(part).collect()
    }

    #[test]
    fn the_header_is_that_of_a_stereo_file_of_16_bits() {
        let (file, _) = recorded(FrameFormat::Mulaw8k, 50);
        let expected =
            b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x10\0data\0\x7d\0\0";
        assert_eq!((&file.header(), file.length()), (expected, 32_044));
    }

    #[test]
    fn mulaw_is_heard_in_the_file() {
        let (file, segments) = recorded(FrameFormat::Mulaw8k, 101);
        let bytes = read(&file, FrameFormat::Mulaw8k, &segments, 0..file.length());
        let mut expected = Vec::new();
        g711::mulaw_to_pcm(&segments.concat(), &mut expected);
        let samples =
            bytes[HEADER_BYTES..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        assert!(samples.eq(expected));
    }

    #[test]
    fn a_file_too_long_for_its_header_says_the_most() {
        let file = WavFile::new(FrameFormat::Pcm16k, 40_000, 0);
        assert_eq!(file.header()[40..], [0xff; 4]);
        assert_eq!(file.length(), 40_000 * 128_000 + 44);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_range_is_that_of_the_whole_file(
            format in prop::sample::select(vec![FrameFormat::Mulaw8k, FrameFormat::Pcm16k]),
            frames in 1u32..350,
            start in 0u64..500_000,
            length in prop_oneof![0u64..100, 0u64..500_000],
        ) {
            let (file, segments) = recorded(format, frames);
            let whole = read(&file, format, &segments, 0..u64::MAX);
            prop_assert_eq!(whole.len() as u64, file.length());
            let cut = |at: u64| at.min(file.length()) as usize;
            let part = read(&file, format, &segments, start..start + length);
            prop_assert!(part == whole[cut(start)..cut(start + length)]);
        }
    }
}
