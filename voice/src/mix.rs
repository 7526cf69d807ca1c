//! Two sounds at once.

/// Adds `other` to `sound`, as far as both go. What is too loud stays at the limit instead of turning over.
pub fn add(sound: &mut [i16], other: &[i16]) {
    for (sample, other) in sound.iter_mut().zip(other) {
        *sample = sample.saturating_add(*other);
    }
}

/// Appends one channel for the `channels` that are interleaved in `sound`: their mean.
///
/// An incomplete set of samples at the end is passed over.
pub fn to_mono(sound: &[i16], channels: usize, mono: &mut Vec<i16>) {
    let count = channels.max(1) as i64;
    let sets = sound.chunks_exact(channels.max(1));
    mono.extend(sets.map(|set| (set.iter().copied().map(i64::from).sum::<i64>() / count) as i16));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_loud_stays_at_the_limit() {
        let mut sound = [1_000, 30_000, -30_000, 5];
        add(&mut sound, &[-2_000, 30_000, -30_000]);
        assert_eq!(sound, [-1_000, i16::MAX, i16::MIN, 5]);
    }

    #[test]
    fn mono_is_the_mean_of_all_channels() {
        let mut mono = vec![7];
        to_mono(&[i16::MIN, i16::MIN, 100, -300, 1], 2, &mut mono);
        to_mono(&[3, 6, 9], 3, &mut mono);
        to_mono(&[-4, 4], 1, &mut mono);
        assert_eq!(mono, [7, i16::MIN, -100, 6, -4, 4]);
    }
}
