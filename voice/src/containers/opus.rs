//! Opus, which symphonia finds in files but does not decode.

use ropus::{Channels, DecodeMode, Decoder};

use super::SAMPLE_RATE_HZ;

/// The longest packet has 120 ms.
const MOST_SAMPLES: usize = SAMPLE_RATE_HZ as usize * 120 / 1_000;

/// Opus counts in 48 kHz, whatever it decodes to.
const OWN_RATE_HZ: u32 = 48_000;

/// Decodes to one channel at the rate that is wanted: Opus does both itself.
pub struct OpusStream {
    decoder: Decoder,
    /// Samples that are only there to get the decoder going.
    to_skip: usize,
    samples: Vec<i16>,
}

impl OpusStream {
    /// `None` for what RFC 7845 does not know, or for more than two channels.
    pub fn new(head: &[u8]) -> Option<Self> {
        let &[b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, skip_low, skip_high, ..] =
            head
        else {
            return None;
        };
        let mapping_family = head.get(18)?;
        if version > 15 || !(1..=2).contains(&channels) || *mapping_family != 0 {
            return None;
        }
        let pre_skip = u32::from(u16::from_le_bytes([skip_low, skip_high]));
        Some(Self {
            decoder: Decoder::new(SAMPLE_RATE_HZ, Channels::Mono).ok()?,
            to_skip: (pre_skip * SAMPLE_RATE_HZ / OWN_RATE_HZ) as usize,
            samples: vec![0; MOST_SAMPLES],
        })
    }

    /// The samples of a packet, or `None` if it is none.
    pub fn decode(&mut self, packet: &[u8]) -> Option<&[i16]> {
        // An empty packet would mean one that was lost.
        if packet.is_empty() {
            return None;
        }
        let count = self.decoder.decode(packet, &mut self.samples, DecodeMode::Normal).ok()?;
        let skipped = self.to_skip.min(count);
        self.to_skip -= skipped;
        Some(&self.samples[skipped..count])
    }
}
