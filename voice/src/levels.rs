//! How loud audio is, against the loudest that samples can say.

/// The level of silence, and of whatever is softer: below the softest sound that 16 bits can hold.
pub const SILENCE_DBFS: f32 = -100.0;

/// The level of the root mean square in decibels. A full square wave is at 0, a full sine at −3.
#[must_use]
pub fn rms_dbfs(samples: &[i16]) -> f32 {
    let energy: f64 = samples.iter().map(|&sample| f64::from(i32::from(sample) * i32::from(sample))).sum();
    let mean = energy / samples.len().max(1) as f64;
    ((10.0 * mean.log10()) as f32 - FULL_SCALE_DB).max(SILENCE_DBFS)
}

/// How far the farthest sample is from zero: at most 32,768.
#[must_use]
pub fn peak(samples: &[i16]) -> u16 {
    samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
}

/// 32,768 in decibels.
const FULL_SCALE_DB: f32 = 90.308_99;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_square_wave_is_at_zero_and_half_of_it_six_below() {
        assert!(rms_dbfs(&[i16::MIN; 100]).abs() < 1e-4);
        assert!((rms_dbfs(&[16_384, -16_384]) + 6.020_6).abs() < 1e-3);
    }

    #[test]
    fn a_full_sine_is_three_below() {
        let sine: Vec<i16> = (0..1_600).map(|at| (32_767.0 * (f64::from(at) / 50.93).sin()) as i16).collect();
        assert!((rms_dbfs(&sine) + 3.01).abs() < 0.02);
    }

    #[test]
    fn silence_and_nothing_have_a_level_too() {
        assert_eq!((rms_dbfs(&[0; 160]), rms_dbfs(&[])), (SILENCE_DBFS, SILENCE_DBFS));
        assert!(rms_dbfs(&[1; 160]) > SILENCE_DBFS);
    }

    #[test]
    fn the_lowest_sample_is_the_highest_peak() {
        assert_eq!((peak(&[3, i16::MIN, i16::MAX]), peak(&[-7, 5]), peak(&[])), (32_768, 7, 0));
    }
}
