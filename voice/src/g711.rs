//! G.711: the µ-law and A-law bytes of telephone lines, 8,000 a second, one for each sample.
//!
//! Encoding is that of the ITU's reference software (G.191), which halves the range around zero evenly. Many others,
//! CPython's `audioop` among them, take another step at 508 negative samples.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

/// What silence is in µ-law.
pub const MULAW_SILENCE: u8 = 0xff;

/// What silence is in A-law.
pub const ALAW_SILENCE: u8 = 0xd5;

/// Appends the sample of every byte.
pub fn mulaw_to_pcm(mulaw: &[u8], pcm: &mut Vec<i16>) {
    pcm.extend(mulaw.iter().map(|&byte| decode_ulaw(byte)));
}

/// Appends the byte of every sample.
pub fn pcm_to_mulaw(pcm: &[i16], mulaw: &mut Vec<u8>) {
    mulaw.extend(pcm.iter().map(|&sample| encode_ulaw(sample)));
}

/// Appends the sample of every byte.
pub fn alaw_to_pcm(alaw: &[u8], pcm: &mut Vec<i16>) {
    pcm.extend(alaw.iter().map(|&byte| decode_alaw(byte)));
}

/// Appends the byte of every sample.
pub fn pcm_to_alaw(pcm: &[i16], alaw: &mut Vec<u8>) {
    alaw.extend(pcm.iter().map(|&sample| encode_alaw(sample)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the `n`th of 128 intervals of µ-law begins, in the 14 bits of G.711: in each of eight segments 16 steps,
    /// twice as wide as in the segment before.
    fn mulaw_decision(n: u32) -> i32 {
        let (segment, step) = (n / 16, (n % 16) as i32);
        (32 << segment) + step * (2 << segment) - 33
    }

    /// Where the `n`th of 128 intervals of A-law begins, in 12 bits: the first two segments have the same step.
    fn alaw_decision(n: u32) -> i32 {
        let (segment, step) = (n / 16, (n % 16) as i32);
        if segment == 0 { step } else { (16 + step) << (segment - 1) }
    }

    /// The interval that `magnitude` falls into.
    fn interval(decision: fn(u32) -> i32, magnitude: i32) -> u8 {
        (0..128).rev().find(|&n| decision(n) <= magnitude).unwrap() as u8
    }

    /// G.191 folds by complement, so that −1 is as far from the middle as 0.
    fn folded(sample: i16) -> i32 {
        i32::from(if sample < 0 { !sample } else { sample })
    }

    fn mulaw_reference(sample: i16) -> u8 {
        let sign = if sample < 0 { 0x80 } else { 0 };
        !(sign | interval(mulaw_decision, folded(sample) >> 2))
    }

    fn alaw_reference(sample: i16) -> u8 {
        let sign = if sample < 0 { 0 } else { 0x80 };
        (sign | interval(alaw_decision, folded(sample) >> 4)) ^ 0x55
    }

    /// The rule of CPython's `audioop.lin2ulaw`: shift, then negate.
    fn mulaw_of_audioop(sample: i16) -> u8 {
        let (sign, magnitude) =
            if sample < 0 { (0x80, -(i32::from(sample) >> 2)) } else { (0, i32::from(sample) >> 2) };
        !(sign | interval(mulaw_decision, magnitude.min(8_159)))
    }

    fn all() -> Vec<i16> {
        (i16::MIN..=i16::MAX).collect()
    }

    #[test]
    fn mulaw_is_that_of_g191_for_every_sample() {
        let mut coded = Vec::new();
        pcm_to_mulaw(&all(), &mut coded);
        let reference: Vec<u8> = all().into_iter().map(mulaw_reference).collect();
        assert!(coded == reference);
    }

    #[test]
    fn alaw_is_that_of_g191_for_every_sample() {
        let mut coded = Vec::new();
        pcm_to_alaw(&all(), &mut coded);
        let reference: Vec<u8> = all().into_iter().map(alaw_reference).collect();
        assert!(coded == reference);
    }

    #[test]
    fn every_byte_is_decoded_to_the_middle_of_its_interval() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut mulaw, mut alaw) = (Vec::new(), Vec::new());
        mulaw_to_pcm(&bytes, &mut mulaw);
        alaw_to_pcm(&bytes, &mut alaw);
        for byte in bytes {
            let (code, at) = (!byte, usize::from(byte));
            let n = u32::from(code & 0x7f);
            // The last interval is as wide as the others of its segment.
            let above = if n == 127 { 8_159 } else { mulaw_decision(n + 1) };
            let middle = (mulaw_decision(n) + above) / 2 * 4;
            assert_eq!(i32::from(mulaw[at]), if code & 0x80 == 0 { middle } else { -middle });

            let code = byte ^ 0x55;
            let n = u32::from(code & 0x7f);
            let above = if n == 127 { 2_048 } else { alaw_decision(n + 1) };
            let middle = (alaw_decision(n) + above) * 8;
            assert_eq!(i32::from(alaw[at]), if code & 0x80 == 0 { -middle } else { middle });
        }
    }

    #[test]
    fn audioop_differs_from_g191_at_508_negative_samples() {
        let different: Vec<i16> =
            all().into_iter().filter(|&sample| mulaw_of_audioop(sample) != mulaw_reference(sample)).collect();
        assert_eq!(different.len(), 508);
        assert!(different.iter().all(|&sample| sample < 0));
        let mut ours = Vec::new();
        pcm_to_mulaw(&different, &mut ours);
        assert!(different.iter().zip(ours).all(|(&sample, byte)| byte != mulaw_of_audioop(sample)));
    }

    #[test]
    fn silence_is_zero() {
        let (mut mulaw, mut alaw) = (Vec::new(), Vec::new());
        pcm_to_mulaw(&[0], &mut mulaw);
        pcm_to_alaw(&[0], &mut alaw);
        assert_eq!((mulaw, alaw), (vec![MULAW_SILENCE], vec![ALAW_SILENCE]));
    }
}
