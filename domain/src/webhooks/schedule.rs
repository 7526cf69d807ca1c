//! When a delivery that failed is tried again.

use std::time::Duration;

use events::DeliveryId;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Between attempts, each give or take a fifth: ten attempts in a bit more than three days (Standard Webhooks).
pub const PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    minutes(5),
    minutes(30),
    minutes(2 * 60),
    minutes(5 * 60),
    minutes(10 * 60),
    minutes(14 * 60),
    minutes(20 * 60),
    minutes(24 * 60),
];

/// A recipient that wants to be left alone for longer is asked again after this.
pub const LONGEST_WISH: Duration = minutes(24 * 60);

/// How long is waited after which attempt. The first attempt comes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Default for Schedule {
    fn default() -> Self {
        Self(PAUSES.to_vec())
    }
}

impl Schedule {
    /// `pauses`: after the first attempt, after the second, and so on.
    pub fn new(pauses: Vec<Duration>) -> Self {
        Self(pauses)
    }

    /// The pause after attempt `number` (from 1); `None`: it was the last one. A recipient that wishes to be left alone
    /// for longer is.
    pub fn pause(&self, delivery_id: DeliveryId, number: u32, wish: Option<Duration>) -> Option<Duration> {
        let step = usize::try_from(number).ok()?.checked_sub(1)?;
        let pause = self.0.get(step)?.mul_f64(jitter(delivery_id, number));
        Some(wish.map_or(pause, |wish| pause.max(wish.min(LONGEST_WISH))))
    }
}

/// 0.8 to 1.2, spread evenly over deliveries and attempts; the same whenever it is asked for.
fn jitter(delivery_id: DeliveryId, number: u32) -> f64 {
    const STEPS: u64 = 4_001;
    let bytes = delivery_id.0.as_bytes().iter().copied().chain(number.to_be_bytes());
    // FNV-1a, whose low bits are well mixed.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    0.8 + (hash % STEPS) as f64 / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_that_of_standard_webhooks() {
        let shown: Vec<String> = PAUSES.iter().map(|pause| format!("{pause:?}")).collect();
        assert_eq!(shown, ["5s", "300s", "1800s", "7200s", "18000s", "36000s", "50400s", "72000s", "86400s"]);
    }

    #[test]
    fn pauses_differ_by_a_fifth_at_most_and_are_spread() {
        let schedule = Schedule::default();
        let firsts: Vec<f64> =
            (0..2_000).map(|_| schedule.pause(DeliveryId::new(), 1, None).unwrap().as_secs_f64()).collect();
        assert!(firsts.iter().all(|pause| (4.0..=6.0).contains(pause)));
        let mean = firsts.iter().sum::<f64>() / firsts.len() as f64;
        assert!((4.9..5.1).contains(&mean), "{mean}");
        assert!(firsts.iter().any(|pause| *pause < 4.2) && firsts.iter().any(|pause| *pause > 5.8));
    }

    #[test]
    fn after_the_tenth_attempt_there_is_none() {
        let (schedule, id) = (Schedule::default(), DeliveryId::new());
        let attempts = (1..).take_while(|number| schedule.pause(id, *number, None).is_some()).count();
        assert_eq!((attempts, schedule.pause(id, 10, Some(Duration::ZERO))), (9, None));
        assert_eq!(schedule.pause(id, 3, None), schedule.pause(id, 3, None));
    }

    #[test]
    fn a_recipient_is_left_alone_as_long_as_it_wishes_but_not_for_ever() {
        let (schedule, id) = (Schedule::default(), DeliveryId::new());
        assert_eq!(schedule.pause(id, 1, Some(minutes(7))), Some(minutes(7)));
        assert!(schedule.pause(id, 2, Some(Duration::from_secs(1))).unwrap() >= minutes(4));
        assert_eq!(schedule.pause(id, 1, Some(minutes(100_000))), Some(LONGEST_WISH));
    }
}
