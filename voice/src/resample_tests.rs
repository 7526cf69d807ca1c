use proptest::prelude::*;

use super::*;

const CALLS: [(u32, u32); 4] = [(8_000, 16_000), (16_000, 8_000), (24_000, 8_000), (24_000, 16_000)];

/// A second of a tone, as loud as samples can be.
fn tone(frequency_hz: f64, rate_hz: u32) -> Vec<i16> {
    let sample =
        |at: u32| (32_000.0 * (2.0 * PI * frequency_hz * f64::from(at) / f64::from(rate_hz)).sin()).round();
    (0..rate_hz).map(|at| sample(at) as i16).collect()
}

fn resampled(input: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    let (mut resampler, mut output) = (Resampler::new(from_hz, to_hz), Vec::new());
    resampler.process(input, &mut output);
    output
}

/// Amplitude of a tone in `samples`, and the root mean square of all the rest, past the first 100 ms.
fn analysed(samples: &[i16], frequency_hz: f64, rate_hz: u32) -> (f64, f64) {
    // A whole number of periods of every multiple of 10 Hz, so that sine and cosine are orthogonal.
    let length = rate_hz as usize / 2;
    let samples: Vec<f64> =
        samples[rate_hz as usize / 10..][..length].iter().map(|&s| f64::from(s)).collect();
    let angle = |at: usize| 2.0 * PI * frequency_hz * at as f64 / f64::from(rate_hz);
    let along = |wave: fn(f64) -> f64| {
        2.0 / length as f64 * samples.iter().enumerate().map(|(at, s)| s * wave(angle(at))).sum::<f64>()
    };
    let (sine, cosine) = (along(f64::sin), along(f64::cos));
    let rest: f64 = samples
        .iter()
        .enumerate()
        .map(|(at, s)| (s - sine * angle(at).sin() - cosine * angle(at).cos()).powi(2))
        .sum();
    (sine.hypot(cosine), (rest / length as f64).sqrt())
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// Multiples of 10 Hz.
fn tones(from_hz: usize, to_hz: usize) -> impl Iterator<Item = f64> {
    (from_hz..=to_hz).step_by(110).map(|hz| hz as f64)
}

#[test]
fn tones_of_the_pass_band_keep_their_level_and_gain_no_noise() {
    for (from, to) in CALLS {
        for frequency in tones(100, 3_400) {
            let (level, rest) = analysed(&resampled(&tone(frequency, from), from, to), frequency, to);
            let gain = db(level / 32_000.0);
            let snr = db(level / 2f64.sqrt() / rest);
            assert!(gain.abs() <= 0.1, "{from} to {to} at {frequency} Hz: {gain:.3} dB");
            assert!(snr >= 90.0, "{from} to {to} at {frequency} Hz: {snr:.1} dB");
        }
    }
}

#[test]
fn between_16_and_24_khz_it_is_flat_to_6_8_khz() {
    for (from, to) in [(24_000, 16_000), (16_000, 24_000)] {
        let (level, _) = analysed(&resampled(&tone(6_800.0, from), from, to), 6_800.0, to);
        assert!(db(level / 32_000.0).abs() <= 0.1);
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_gone() {
    for (from, to) in [(16_000, 8_000), (24_000, 8_000), (24_000, 16_000), (48_000, 16_000), (44_100, 16_000)]
    {
        for frequency in tones(to as usize / 2 + 10, from as usize / 2 - 50) {
            let output = resampled(&tone(frequency, from), from, to);
            let (_, rest) = analysed(&output, 10.0, to);
            let left = db(rest / (32_000.0 / 2f64.sqrt()));
            assert!(left <= -80.0, "{from} to {to} at {frequency} Hz: {left:.1} dB");
        }
    }
}

#[test]
fn no_image_is_heard_above_the_old_nyquist_frequency() {
    for (from, to) in [(8_000, 16_000), (8_000, 24_000), (16_000, 24_000)] {
        for frequency in tones(100, from as usize / 2 - 10) {
            let output = resampled(&tone(frequency, from), from, to);
            for image in [f64::from(from) - frequency, f64::from(from) + frequency] {
                if image < f64::from(to) / 2.0 {
                    let (level, _) = analysed(&output, image, to);
                    let left = db(level / 32_000.0);
                    assert!(left <= -80.0, "{from} to {to} at {frequency} Hz: {left:.1} dB");
                }
            }
        }
    }
}

#[test]
fn it_is_less_than_five_milliseconds_late_and_says_how_much() {
    for (from, to) in CALLS {
        let mut click = vec![0; from as usize / 10];
        click[0] = 30_000;
        let output = resampled(&click, from, to);
        let peak = output.iter().enumerate().max_by_key(|(_, sample)| sample.unsigned_abs()).unwrap().0;
        assert_eq!(peak, Resampler::new(from, to).delay());
        assert!(peak as u32 * 1_000 < 5 * to, "{from} to {to}: {peak} samples");
    }
}

#[test]
fn a_constant_stays_what_it_is() {
    for (from, to) in [(8_000, 16_000), (24_000, 16_000), (44_100, 16_000), (11_025, 16_000)] {
        let output = resampled(&vec![-12_345; from as usize], from, to);
        assert!(output[to as usize / 4..].iter().all(|&sample| sample == -12_345), "{from} to {to}");
    }
}

#[test]
fn the_same_rate_changes_nothing() {
    let input = tone(440.0, 16_000);
    assert_eq!(resampled(&input, 16_000, 16_000), input);
}

#[test]
fn what_is_too_loud_stays_at_the_limit() {
    let square: Vec<i16> = (0..8_000).map(|at| if at / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let output = resampled(&square, 8_000, 16_000);
    // The overshoot of a square wave would turn over if it were cut off by a plain cast.
    let turned = output.windows(2).filter(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs() > 60_000);
    assert_eq!(turned.count(), 0);
    assert!(output.contains(&i16::MAX) && output.contains(&i16::MIN));
}

#[test]
fn an_odd_pair_of_rates_is_approximated() {
    let mut output = Vec::new();
    let mut resampler = Resampler::new(44_101, 16_000);
    resampler.process(&tone(1_000.0, 44_101), &mut output);
    resampler.flush(&mut output);
    assert!(resampler.up <= MOST_PHASES);
    let length = output.len() - resampler.delay();
    assert!(length.abs_diff(16_000) <= 1, "{length}");
    Resampler::new(0, u32::MAX).process(&[1; 1_000], &mut output);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn odd_chunks_give_the_same_samples_as_one(
        input in prop::collection::vec(any::<i16>(), 0..6_000),
        cuts in prop::collection::vec(1usize..700, 1..40),
        (from, to) in prop::sample::select(vec![
            (8_000, 16_000), (16_000, 8_000), (24_000, 8_000), (24_000, 16_000), (16_000, 24_000), (48_000, 16_000),
            (44_100, 16_000),
        ]),
    ) {
        let (mut resampler, mut pieces) = (Resampler::new(from, to), Vec::new());
        let (mut rest, mut cuts) = (input.as_slice(), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(rest.len().min(cuts.next().unwrap()));
            resampler.process(chunk, &mut pieces);
            rest = later;
        }
        resampler.flush(&mut pieces);
        let (mut whole, mut resampler) = (Vec::new(), Resampler::new(from, to));
        resampler.process(&input, &mut whole);
        resampler.flush(&mut whole);
        prop_assert_eq!(&pieces, &whole);
        let due = (input.len() * to as usize).div_ceil(from as usize) + resampler.delay();
        prop_assert_eq!(whole.len(), due);

        // After the flush, another stream begins as if it were the first.
        let mut again = Vec::new();
        resampler.process(&input, &mut again);
        resampler.flush(&mut again);
        prop_assert_eq!(again, whole);
    }
}
