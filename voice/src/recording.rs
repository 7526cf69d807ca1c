//! What was said in a call, by both: segments of two seconds of stereo, the caller left and the agent right.
//!
//! A side tells its frames by their numbers, in any order and with gaps, which are silence. The agent's come when they
//! have been played, a little after the caller's of the same time; so a segment waits for a second before it is given.
//! No more than that is ever in memory.

use std::collections::VecDeque;

use crate::frames::{FRAME_MS, FrameFormat};

/// Frames in a segment, but for the last of a recording, which may have fewer.
pub const SEGMENT_FRAMES: u32 = 100;

/// How many frames later than a segment one side must be before the segment is given.
const PATIENCE_FRAMES: u32 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Left.
    Caller,
    /// Right.
    Agent,
}

/// A piece of a recording, in the format of the call with two samples instead of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// From 0.
    pub index: u32,
    /// Where it begins, in milliseconds since the recording's first frame.
    pub offset_ms: u64,
    pub data: Vec<u8>,
}

/// Bytes of a frame with both sides.
#[must_use]
pub const fn stereo_frame_bytes(format: FrameFormat) -> usize {
    2 * format.bytes_per_frame()
}

/// Interleaves the frames of two sides. Frames are kept as they come, so that those which somebody else keeps too need
/// no room of their own.
pub struct StereoWriter<F> {
    format: FrameFormat,
    /// Of the segment that is given next.
    index: u32,
    /// Caller and agent of that segment, and of the frames after it that are waited for; `None` where nothing came.
    frames: VecDeque<[Option<F>; 2]>,
}

impl<F: AsRef<[u8]>> StereoWriter<F> {
    #[must_use]
    pub fn new(format: FrameFormat) -> Self {
        Self::resume(format, 0)
    }

    /// Goes on with a recording of which the segments before `index` are kept already.
    #[must_use]
    pub fn resume(format: FrameFormat, index: u32) -> Self {
        let most = SEGMENT_FRAMES + PATIENCE_FRAMES;
        Self { format, index, frames: VecDeque::with_capacity(most as usize) }
    }

    /// Takes one side's frame number `frame`, and gives the segments that no longer wait for anything. A frame of a
    /// segment that was given is passed over; what is missing of a short frame is silence.
    pub fn push(&mut self, side: Side, frame: u32, data: F, mut give: impl FnMut(Segment)) {
        let Some(mut place) = frame.checked_sub(self.index.saturating_mul(SEGMENT_FRAMES)) else { return };
        while place >= SEGMENT_FRAMES + PATIENCE_FRAMES {
            give(self.take(SEGMENT_FRAMES as usize));
            place -= SEGMENT_FRAMES;
        }
        let place = place as usize;
        if self.frames.len() <= place {
            self.frames.resize_with(place + 1, Default::default);
        }
        self.frames[place][side as usize] = Some(data);
    }

    /// Gives what is left at the end of the call.
    pub fn finish(mut self, mut give: impl FnMut(Segment)) {
        while !self.frames.is_empty() {
            let frames = self.frames.len().min(SEGMENT_FRAMES as usize);
            give(self.take(frames));
        }
    }

    fn take(&mut self, frames: usize) -> Segment {
        if self.frames.len() < frames {
            self.frames.resize_with(frames, Default::default);
        }
        let length = stereo_frame_bytes(self.format);
        let mut data = vec![self.format.silence(); frames * length];
        for (slots, sides) in data.chunks_exact_mut(length).zip(self.frames.drain(..frames)) {
            interleave(self.format.bytes_per_sample(), slots, &sides);
        }
        let index = self.index;
        self.index += 1;
        Segment { index, offset_ms: u64::from(index) * u64::from(SEGMENT_FRAMES * FRAME_MS), data }
    }
}

/// Puts the samples of both sides, each `width` bytes, into one frame; what is missing stays as it is.
fn interleave(width: usize, frame: &mut [u8], sides: &[Option<impl AsRef<[u8]>>; 2]) {
    for (side, data) in sides.iter().enumerate() {
        let samples = data.as_ref().map(AsRef::as_ref).unwrap_or_default().chunks_exact(width);
        for (slot, sample) in frame.chunks_exact_mut(2 * width).zip(samples) {
            slot[side * width..][..width].copy_from_slice(sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formats() -> impl Strategy<Value = FrameFormat> {
        prop::sample::select(vec![FrameFormat::Mulaw8k, FrameFormat::Pcm16k])
    }

    /// A frame that tells where it belongs, and is not silent.
    fn frame(format: FrameFormat, side: Side, number: u32) -> Vec<u8> {
        let side = if side == Side::Caller { 1 } else { 2 };
        (0..format.bytes_per_frame())
            .map(|at| ((number as usize * 7 + at * 3 + side) as u8 & 0x7f) | 1)
            .collect()
    }

    /// One side of interleaved audio.
    fn side(format: FrameFormat, data: &[u8], side: Side) -> Vec<u8> {
        let width = format.bytes_per_sample();
        let at = if side == Side::Caller { 0 } else { width };
        data.chunks_exact(2 * width).flat_map(|both| &both[at..at + width]).copied().collect()
    }

    #[test]
    fn a_segment_waits_a_second_for_the_other_side() {
        let format = FrameFormat::Mulaw8k;
        let (mut writer, mut segments) = (StereoWriter::new(format), Vec::new());
        for number in 0..150 {
            writer.push(Side::Caller, number, frame(format, Side::Caller, number), |segment| {
                segments.push(segment)
            });
        }
        assert_eq!(segments, []);
        writer.push(Side::Agent, 99, frame(format, Side::Agent, 99), |segment| segments.push(segment));
        writer.push(Side::Caller, 150, frame(format, Side::Caller, 150), |segment| segments.push(segment));
        assert_eq!(segments.len(), 1);
        let agent = side(format, &segments[0].data, Side::Agent);
        assert_eq!(agent[99 * 160..], frame(format, Side::Agent, 99));
        assert!(agent[..99 * 160].iter().all(|&byte| byte == 0xff));

        writer.push(Side::Agent, 99, vec![0; 160], |_| panic!("it was given"));
        writer.finish(|segment| segments.push(segment));
        let shape: Vec<_> = segments.iter().map(|s| (s.index, s.offset_ms, s.data.len())).collect();
        assert_eq!(shape, [(0, 0, 32_000), (1, 2_000, 51 * 320)]);
    }

    #[test]
    fn a_recording_goes_on_where_it_was_kept() {
        let mut writer = StereoWriter::resume(FrameFormat::Pcm16k, 3);
        writer.push(Side::Caller, 299, [1; 640], |_| panic!("it was kept"));
        writer.push(Side::Caller, 300, [1; 640], |_| panic!("it has only begun"));
        let mut segments = Vec::new();
        writer.finish(|segment| segments.push((segment.index, segment.offset_ms, segment.data.len())));
        assert_eq!(segments, [(3, 6_000, 1_280)]);
    }

    #[test]
    fn nothing_makes_no_segment() {
        StereoWriter::<&[u8]>::new(FrameFormat::Mulaw8k).finish(|_| panic!("nothing was said"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Both sides with gaps, the agent up to a second behind: everything is in its place, once.
        #[test]
        fn both_sides_are_in_their_places(
            format in formats(),
            came in prop::collection::vec((any::<bool>(), any::<bool>(), 0u32..40), 1..700),
        ) {
            let mut arrivals = Vec::new();
            for (number, (caller, agent, behind)) in (0u32..).zip(&came) {
                arrivals.extend(caller.then_some((number, Side::Caller, number)));
                arrivals.extend(agent.then_some((number + behind, Side::Agent, number)));
            }
            arrivals.sort_by_key(|(when, _, _)| *when);
            let (mut writer, mut segments) = (StereoWriter::new(format), Vec::new());
            for (_, side, number) in &arrivals {
                writer.push(*side, *number, frame(format, *side, *number), |segment| segments.push(segment));
            }
            writer.finish(|segment| segments.push(segment));

            let end = arrivals.iter().map(|(_, _, number)| number + 1).max().unwrap_or(0);
            let heard: Vec<u8> = segments.iter().flat_map(|segment| segment.data.clone()).collect();
            for (index, segment) in (0u32..).zip(&segments) {
                prop_assert_eq!((segment.index, segment.offset_ms), (index, u64::from(index) * 2_000));
                let is_last = index as usize + 1 == segments.len();
                prop_assert!(is_last || segment.data.len() == 100 * stereo_frame_bytes(format));
            }
            for which in [Side::Caller, Side::Agent] {
                let expected: Vec<u8> = (0..end)
                    .flat_map(|number| {
                        let (caller, agent, _) = came[number as usize];
                        let there = if which == Side::Caller { caller } else { agent };
                        if there { frame(format, which, number) } else { vec![format.silence(); format.bytes_per_frame()] }
                    })
                    .collect();
                prop_assert!(side(format, &heard, which) == expected);
            }
        }
    }
}
