use proptest::prelude::*;

use super::*;

/// Everything that came out, each frame checked for its number and length.
struct Heard {
    format: FrameFormat,
    bytes: Vec<u8>,
}

impl Heard {
    fn new(format: FrameFormat) -> Self {
        Self { format, bytes: Vec::new() }
    }

    fn take(&mut self, number: u32, frame: &[u8]) {
        assert_eq!(frame.len(), self.format.bytes_per_frame());
        assert_eq!(number as usize, self.bytes.len() / self.format.bytes_per_frame());
        self.bytes.extend_from_slice(frame);
    }
}

/// Pushes chunks with their stamps, in this order.
fn heard(format: FrameFormat, chunks: &[(Option<u64>, &[u8])]) -> (Vec<u8>, Losses) {
    let (mut frames, mut heard) = (Frames::new(format), Heard::new(format));
    for (stamp_ms, chunk) in chunks {
        frames.push(*stamp_ms, chunk, |number, frame| heard.take(number, frame));
    }
    let losses = frames.finish(|number, frame| heard.take(number, frame));
    (heard.bytes, losses)
}

/// Bytes that are not silence and tell where they belong.
fn audio(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 249) as u8 + 1).collect()
}

fn formats() -> impl Strategy<Value = FrameFormat> {
    prop::sample::select(vec![FrameFormat::Mulaw8k, FrameFormat::Pcm16k])
}

/// What must be heard of `audio` when only these parts came.
fn expected(format: FrameFormat, audio: &[u8], came: &[Range<usize>]) -> Vec<u8> {
    let end = came.iter().map(|part| part.end).max().unwrap_or(0);
    let mut expected = vec![format.silence(); end.next_multiple_of(format.bytes_per_frame())];
    for part in came {
        expected[part.clone()].copy_from_slice(&audio[part.clone()]);
    }
    expected
}

#[test]
fn a_whole_frame_is_given_at_once() {
    let mut frames = Frames::new(FrameFormat::Mulaw8k);
    let mut given = 0;
    for at in 0..50 {
        frames.push(Some(at * 20), &audio(160), |number, frame| {
            assert_eq!((u64::from(number), frame), (at, audio(160).as_slice()));
            given += 1;
        });
    }
    assert_eq!((given, frames.next_frame(), frames.losses()), (50, 50, Losses::default()));
}

#[test]
fn what_is_missing_is_given_up_when_three_frames_have_come_after_it() {
    let mut frames = Frames::new(FrameFormat::Mulaw8k);
    let mut given = Vec::new();
    let mut push = |stamp_ms| {
        frames.push(Some(stamp_ms), &audio(160), |number, _| given.push(number));
        given.len()
    };
    assert_eq!([0, 40, 60, 80, 100].map(&mut push), [1, 1, 1, 5, 6]);
    assert_eq!(frames.losses(), Losses { filled_ms: 20, late_ms: 0, jumps: 0 });
}

#[test]
fn a_stream_that_begins_late_begins_with_silence() {
    let audio = audio(160);
    let (bytes, losses) = heard(FrameFormat::Mulaw8k, &[(Some(50), &audio)]);
    assert_eq!(bytes[..400], [0xff; 400]);
    assert_eq!(bytes[400..560], audio[..]);
    assert_eq!(losses.filled_ms, 60, "50 before, 10 after");
}

#[test]
fn a_clock_that_is_set_makes_no_silence() {
    let audio = audio(320);
    let hours = 3_600_000 * 24 * 365;
    for stamps in [[hours, hours + 20], [u64::MAX - 20, u64::MAX], [u64::MAX, 0], [0, hours]] {
        let chunks = [(Some(stamps[0]), &audio[..160]), (Some(stamps[1]), &audio[160..])];
        let (bytes, losses) = heard(FrameFormat::Mulaw8k, &chunks);
        assert_eq!((bytes, losses.filled_ms), (audio.clone(), 0), "{stamps:?}");
    }
}

#[test]
fn a_clock_that_jitters_makes_no_clicks() {
    let audio = audio(160 * 6);
    let stamps = [3, 14, 47, 58, 85, 91];
    let chunks: Vec<_> = stamps.iter().map(|&stamp| Some(stamp)).zip(audio.chunks(160)).collect();
    assert_eq!(heard(FrameFormat::Mulaw8k, &chunks), (audio.clone(), Losses::default()));
}

#[test]
fn half_a_sample_waits_for_its_other_half() {
    let audio = audio(640);
    let chunks = [(Some(0), &audio[..333]), (Some(10), &audio[333..])];
    assert_eq!(heard(FrameFormat::Pcm16k, &chunks).0, audio);
}

#[test]
fn an_empty_chunk_is_nothing() {
    let (bytes, losses) = heard(FrameFormat::Pcm16k, &[(None, &[]), (Some(500), &[])]);
    assert_eq!((bytes.len(), losses), (0, Losses::default()));
}

proptest! {
    /// In order, it does not matter how the audio was cut, and stamps that tell the truth to a millisecond change nothing.
    #[test]
    fn cuts_make_no_difference(
        format in formats(),
        length in 0usize..20_000,
        cuts in prop::collection::vec(1usize..1_500, 1..50),
        stamped in any::<bool>(),
    ) {
        let audio = audio(length);
        let (mut chunks, mut at, mut cuts) = (Vec::new(), 0, cuts.into_iter().cycle());
        while at < length {
            let end = length.min(at + cuts.next().unwrap());
            chunks.push((stamped.then_some(at as u64 / format.bytes_per_ms()), &audio[at..end]));
            at = end;
        }
        let (bytes, losses) = heard(format, &chunks);
        prop_assert_eq!(bytes, expected(format, &audio, std::slice::from_ref(&(0..length))));
        prop_assert_eq!((losses.late_ms, losses.jumps), (0, 0));
    }

    /// Chunks of whole milliseconds, some lost, some up to 40 ms late, some twice: all that came is in its place.
    #[test]
    fn loss_reordering_and_duplicates_leave_everything_in_its_place(
        format in formats(),
        chunk_ms in 1usize..=20,
        fates in prop::collection::vec((0u8..10, 0usize..=40, 0usize..=40), 1..200),
    ) {
        let chunk = chunk_ms * format.bytes_per_ms() as usize;
        let audio = audio(chunk * fates.len());
        let mut arrivals = Vec::new();
        for (at, (fate, late_ms, again_ms)) in fates.iter().enumerate() {
            if *fate > 0 {
                arrivals.push((at * chunk_ms + late_ms, at));
            }
            if *fate > 7 {
                arrivals.push((at * chunk_ms + again_ms, at));
            }
        }
        arrivals.sort_by_key(|(when, _)| *when);
        let came: Vec<_> = arrivals.iter().map(|(_, at)| at * chunk..(at + 1) * chunk).collect();
        let chunks: Vec<_> = arrivals
            .iter()
            .zip(&came)
            .map(|((_, at), part)| (Some((at * chunk_ms) as u64), &audio[part.clone()]))
            .collect();
        let (bytes, _) = heard(format, &chunks);
        prop_assert_eq!(bytes, expected(format, &audio, &came));
    }

    /// Whatever is claimed, silence is bounded by what really came, and memory is what it was.
    #[test]
    fn lies_make_no_mountains_of_silence(
        format in formats(),
        chunks in prop::collection::vec(
            (
                prop_oneof![Just(None), any::<u64>().prop_map(Some), (0u64..40_000).prop_map(Some)],
                0usize..2_000,
            ),
            0..60,
        ),
    ) {
        let mut frames = Frames::new(format);
        let (mut heard, room) = (Heard::new(format), frames.buffer.capacity());
        for (stamp_ms, length) in &chunks {
            frames.push(*stamp_ms, &audio(*length), |number, frame| heard.take(number, frame));
            prop_assert_eq!(frames.buffer.capacity(), room);
        }
        frames.finish(|number, frame| heard.take(number, frame));
        let came: usize = chunks.iter().map(|(_, length)| length).sum();
        let credit = (LONGEST_GAP_MS * format.bytes_per_ms()) as usize;
        prop_assert!(heard.bytes.len() <= 2 * came + credit + format.bytes_per_frame());
    }
}
