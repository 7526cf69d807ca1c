//! What a file is, by its first bytes. What it is called or said to be is not looked at.

/// A kind of file that can hold speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Wav,
    Mp3,
    /// MPEG-4, as in `.m4a`.
    Mp4,
    /// Matroska, as in `.webm`.
    WebM,
    Ogg,
}

impl Container {
    /// `None` for anything else, raw samples too.
    #[must_use]
    pub fn of(file: &[u8]) -> Option<Self> {
        match file {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Self::Mp4),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Self::WebM),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            _ => is_mp3(file).then_some(Self::Mp3),
        }
    }
}

/// A frame and the header of another where it ends. One header alone is in every 1,000th noise.
fn is_mp3(file: &[u8]) -> bool {
    let Some((first, length)) = mp3_frame(file) else { return false };
    file.get(length..).and_then(mp3_frame).is_some_and(|(second, _)| second == first)
}

/// Version and sample rate of the layer III frame that begins here, and its length in bytes.
fn mp3_frame(file: &[u8]) -> Option<((u8, u8), usize)> {
    const MPEG_1_KBPS: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const MPEG_2_KBPS: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    const MPEG_1_HZ: [u32; 3] = [44_100, 48_000, 32_000];
    let &[0xff, second, third, _, ..] = file else { return None };
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    if second >> 5 != 7 || layer != 1 {
        return None;
    }
    // Half the rate, and half the samples, in each newer version. Version 1 is not assigned.
    let (kbps, halved) = match version {
        3 => (MPEG_1_KBPS, 0),
        2 => (MPEG_2_KBPS, 1),
        0 => (MPEG_2_KBPS, 2),
        _ => return None,
    };
    let rate_hz = MPEG_1_HZ.get(usize::from(third >> 2 & 3))? >> halved;
    let bytes_per_second = kbps.get(usize::from(third >> 4)).filter(|kbps| **kbps > 0)? * 125;
    let samples = if version == 3 { 1_152 } else { 576 };
    let padding = u32::from(third >> 1 & 1);
    Some(((version, third >> 2 & 3), (samples * bytes_per_second / rate_hz + padding) as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mp3;

    #[test]
    fn every_kind_is_told_by_its_first_bytes() {
        let webm = include_bytes!("../../fixtures/tones.webm");
        let mp4 = include_bytes!("../../fixtures/tones.m4a");
        let ogg = include_bytes!("../../fixtures/tones.ogg");
        let mp3 = include_bytes!("../../fixtures/tones.mp3");
        let own = [16_000, 24_000, 48_000].map(|rate_hz| mp3::encode(&[0; 9_000], rate_hz).unwrap());
        assert_eq!(Container::of(b"RIFF\0\0\0\0WAVEfmt "), Some(Container::Wav));
        assert_eq!(Container::of(mp4), Some(Container::Mp4));
        assert_eq!(Container::of(webm), Some(Container::WebM));
        assert_eq!(Container::of(ogg), Some(Container::Ogg));
        assert_eq!(Container::of(mp3), Some(Container::Mp3));
        assert_eq!(own.map(|file| Container::of(&file)), [Some(Container::Mp3); 3]);
    }

    #[test]
    fn raw_samples_are_no_file() {
        assert_eq!(Container::of(&[]), None);
        assert_eq!(Container::of(&[0; 1_000]), None);
        // Soft sound below zero looks like the beginning of a frame.
        assert_eq!(Container::of(&[0xff, 0xfb].repeat(1_000)), None);
        assert_eq!(Container::of(&[0xff, 0xff].repeat(1_000)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Container::of(&bytes);
            let _ = Container::of(&[&[0xff, 0xfb], bytes.as_slice()].concat());
        }
    }
}
