use proptest::prelude::*;

use super::*;

/// Speech from about frame 15 on; see `voice/fixtures/README.md`.
fn clip() -> Vec<i16> {
    let bytes = include_bytes!("../fixtures/not_an_ill_disposed.s16le");
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

fn silence(frames: usize) -> Vec<i16> {
    vec![0; frames * FRAME_SAMPLES]
}

/// White noise, the same every time.
fn noise(frames: usize, loudest: i16) -> Vec<i16> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state % (2 * loudest as u64 + 1)) as i32 - i32::from(loudest)) as i16
    };
    (0..frames * FRAME_SAMPLES).map(|_| next()).collect()
}

fn facts(samples: &[i16]) -> Vec<FrameFacts> {
    let (mut vad, mut gate) = (Vad::new(), SpeechGate::new(GateConfig::default()));
    let frames = samples.chunks_exact(FRAME_SAMPLES).enumerate();
    frames
        .map(|(frame, samples)| gate.push(frame as u32, level_dbfs(samples), likelihood(&mut vad, samples)))
        .collect()
}

/// As cheap as it may be had.
fn likelihood(vad: &mut Vad, samples: &[i16]) -> f32 {
    vad.without_looking(level_dbfs(samples)).unwrap_or_else(|| vad.push(samples))
}

fn changes(samples: &[i16]) -> Vec<Change> {
    facts(samples).iter().filter_map(|facts| facts.change).collect()
}

#[test]
fn speech_has_a_beginning_and_an_end() {
    let found = changes(&[clip(), silence(25)].concat());
    let [Change::SpeechStarted { frame: began }, Change::SpeechEnded { frame: ended }] = found[..] else {
        panic!("{found:?}");
    };
    assert!((12..=17).contains(&began), "began at {began}");
    assert!((86..=93).contains(&ended), "ended at {ended}");
}

#[test]
fn a_long_silence_is_a_short_one() {
    let after = |silence: Vec<i16>| {
        let mut vad = Vad::new();
        let samples = [clip(), silence, clip()].concat();
        let said: Vec<f32> =
            samples.chunks_exact(FRAME_SAMPLES).map(|samples| likelihood(&mut vad, samples)).collect();
        said[said.len() - clip().len() / FRAME_SAMPLES..].to_vec()
    };
    let short = after(silence(SETTLED_FRAMES as usize));
    assert!(short.iter().any(|likelihood| *likelihood > 0.9));
    assert_eq!(after(silence(500)), short);
    // The quietest noise that a telephone line can have.
    let noise = [noise(SETTLED_FRAMES as usize, 8), noise(500, 8)].concat();
    assert_eq!(after(noise.clone()), after(noise[..SETTLED_FRAMES as usize * FRAME_SAMPLES].to_vec()));
}

#[test]
fn a_second_stretch_is_found_too() {
    let found = changes(&[clip(), silence(100), clip(), silence(25)].concat());
    assert_eq!(found.len(), 4, "{found:?}");
    let Change::SpeechStarted { frame } = found[2] else { panic!("{found:?}") };
    assert!((201..=207).contains(&frame), "began at {frame}");
}

#[test]
fn a_beginning_is_certain_after_60_ms_and_dated_back() {
    let facts = facts(&clip());
    let certain = facts.iter().position(|facts| facts.change.is_some()).unwrap();
    let Some(Change::SpeechStarted { frame }) = facts[certain].change else { panic!("{certain}") };
    let voiced = facts.iter().position(|facts| facts.voiced).unwrap();
    assert_eq!(certain - voiced, 2);
    // The recording gets loud at frame 13 or 14, before the detector is sure.
    assert!(frame < voiced as u32 && frame >= 13, "{frame}");
}

#[test]
fn speech_is_found_in_noise() {
    let mut samples = [noise(200, 180), clip()].concat();
    for (sample, noise) in samples.iter_mut().skip(200 * FRAME_SAMPLES).zip(noise(90, 180)) {
        *sample = sample.saturating_add(noise);
    }
    let found = changes(&samples);
    let [Change::SpeechStarted { frame }] = found[..] else { panic!("{found:?}") };
    assert!((211..=218).contains(&frame), "began at {frame}");
}

#[test]
fn silence_noise_and_clicks_are_not_speech() {
    assert_eq!(changes(&silence(200)), []);
    assert_eq!(changes(&noise(500, 600)), []);
    let mut clicks = silence(200);
    for second in 0..4 {
        let at = second * 16_000 + 8_000;
        clicks[at] = i16::MAX;
        clicks[at + 4_000..at + 4_080].copy_from_slice(&noise(1, 20_000)[..80]);
    }
    assert_eq!(changes(&clicks), []);
}

/// Likelihoods alone, so that the rule is seen without the detector. What is unlikely is quiet.
fn gate_on(likelihoods: &[f32]) -> Vec<Change> {
    let mut gate = SpeechGate::new(GateConfig::default());
    let (loud, quiet) = ([8_000_i16; FRAME_SAMPLES], [8_i16; FRAME_SAMPLES]);
    let frames = likelihoods.iter().enumerate().map(|(frame, likelihood)| {
        let samples = if *likelihood < 0.2 { &quiet } else { &loud };
        gate.push(frame as u32, level_dbfs(samples), *likelihood)
    });
    frames.filter_map(|facts| facts.change).collect()
}

#[test]
fn two_voiced_frames_are_not_enough() {
    assert_eq!(gate_on(&[0.9, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0]), []);
    assert_eq!(gate_on(&[0.0, 0.9, 0.0, 0.9, 0.9]), [Change::SpeechStarted { frame: 1 }]);
}

#[test]
fn a_doubtful_frame_continues_speech_and_does_not_begin_it() {
    assert_eq!(gate_on(&[0.4; 40]), []);
    let doubtful = [[0.9; 3].as_slice(), &[0.4; 40]].concat();
    assert_eq!(gate_on(&doubtful), [Change::SpeechStarted { frame: 0 }]);
    // What was loud right before is dated into the speech, as far as the detector lags.
    assert_eq!(gate_on(&[0.1, 0.4, 0.4, 0.4, 0.9, 0.9, 0.9]), [Change::SpeechStarted { frame: 2 }]);
}

#[test]
fn a_short_gap_does_not_end_speech() {
    let gap = [[0.9; 5].as_slice(), &[0.0; 9], &[0.9; 1], &[0.0; 10]].concat();
    assert_eq!(gate_on(&gap), [Change::SpeechStarted { frame: 0 }, Change::SpeechEnded { frame: 14 }]);
}

#[test]
fn what_never_gets_quieter_is_the_floor() {
    let mut gate = SpeechGate::new(GateConfig::default());
    let hum = [1_000_i16; FRAME_SAMPLES];
    let voiced: Vec<bool> = (0..400).map(|frame| gate.push(frame, level_dbfs(&hum), 0.9).voiced).collect();
    assert!(voiced[..149].iter().all(|voiced| *voiced));
    assert!(voiced[149..].iter().all(|voiced| !voiced));
    let louder = [4_000_i16; FRAME_SAMPLES];
    assert!(gate.push(400, level_dbfs(&louder), 0.9).voiced);
}

#[test]
fn levels_are_those_of_full_scale() {
    assert!((level_dbfs(&[i16::MIN; FRAME_SAMPLES])).abs() < 0.01);
    assert!((level_dbfs(&[3277; FRAME_SAMPLES]) + 20.0).abs() < 0.01);
    assert!(level_dbfs(&[0; FRAME_SAMPLES]) < -90.0);
    assert!(level_dbfs(&[]) < -90.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_detector_hears_the_same_in_chunks_of_any_size(sizes in prop::collection::vec(1_usize..700, 1..20)) {
        let clip = clip();
        let (mut whole, mut cut) = (Vad::new(), Vad::new());
        let expected: Vec<f32> = clip.chunks_exact(WINDOW_SAMPLES).map(|window| whole.push(window)).collect();
        let mut at = 0;
        for size in sizes.iter().cycle() {
            let end = (at + size).min(clip.len());
            cut.push(&clip[at..end]);
            at = end;
            if at == clip.len() { break }
        }
        prop_assert_eq!(cut.last.max(0.0), cut.last);
        prop_assert_eq!(cut.waiting.len(), clip.len() % WINDOW_SAMPLES);
        // Both have heard the same windows, so they say the same of the next one.
        let next = &noise(1, 9_000)[..WINDOW_SAMPLES];
        whole.push(&clip[expected.len() * WINDOW_SAMPLES..]);
        prop_assert_eq!(whole.push(next), cut.push(next));
    }

    #[test]
    fn changes_alternate_and_stay_in_order(likelihoods in prop::collection::vec(0.0_f32..1.0, 0..400)) {
        let found = gate_on(&likelihoods);
        let mut last = None;
        for (index, change) in found.iter().enumerate() {
            let frame = match change {
                Change::SpeechStarted { frame } => { prop_assert!(index % 2 == 0); *frame }
                Change::SpeechEnded { frame } => { prop_assert!(index % 2 == 1); *frame }
            };
            prop_assert!(last < Some(frame));
            last = Some(frame);
        }
    }
}
