//! An agent's calendar: which times can be had. Arithmetic on the wall clock of a time zone; the answer is in UTC.
//!
//! A time that the clock skips in spring is never offered. A time that it shows twice in autumn is two times, each
//! offered once, unless an appointment at the first would reach into the second.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use events::agent::CalendarSettings;

use crate::Mistake;

/// How long an appointment may be.
pub const SLOT_MINUTES: RangeInclusive<u32> = 5..=240;
pub const DEFAULT_SLOT_MINUTES: u32 = 30;
pub const DEFAULT_TIME_ZONE: &str = "UTC";
/// How far ahead appointments are made.
pub const MAX_DAYS_AHEAD: u64 = 366;
/// The days as `opening_hours` names them, in their order.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MAX_OPENINGS: usize = 12;

/// When an agent's appointments can be had.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    time_zone: Tz,
    length: TimeDelta,
    /// By weekday, from Monday; in order and apart.
    openings: [Vec<Opening>; 7],
}

/// From opening to closing, as times after midnight on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Opening {
    opens: TimeDelta,
    closes: TimeDelta,
}

/// A time that one appointment takes, its end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

impl Slot {
    pub fn overlaps(&self, other: &Self) -> bool {
        self.starts_at < other.ends_at && other.starts_at < self.ends_at
    }
}

/// Why nobody can have an appointment then. The words are for the model that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBookable {
    #[error("that time is over")]
    Past,
    #[error("appointments are made at most {MAX_DAYS_AHEAD} days ahead")]
    TooFar,
    #[error("no appointment begins at that time; check_availability lists those that do")]
    NoSlot,
}

/// Monday to Friday, 09:00 to 17:00 UTC, in half hours.
pub fn default_settings() -> CalendarSettings {
    let working_day = |day: &&str| ((*day).to_owned(), vec![["09:00".to_owned(), "17:00".to_owned()]]);
    CalendarSettings {
        time_zone: DEFAULT_TIME_ZONE.to_owned(),
        slot_minutes: DEFAULT_SLOT_MINUTES,
        opening_hours: DAYS[..5].iter().map(working_day).collect(),
    }
}

impl Calendar {
    /// What `settings` mean; `None`: [`default_settings`].
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn of(settings: Option<&CalendarSettings>) -> Result<Self, Vec<Mistake>> {
        let default = default_settings();
        let settings = settings.unwrap_or(&default);
        let mut mistakes = Vec::new();
        let mut wrong = |field: &str, message: String| {
            mistakes.push(Mistake { field: field.to_owned(), message });
        };
        let time_zone = settings.time_zone.parse().unwrap_or_else(|_| {
            wrong("time_zone", "must be an IANA name such as Europe/Berlin".to_owned());
            Tz::UTC
        });
        if !SLOT_MINUTES.contains(&settings.slot_minutes) {
            let message = format!("must be {} to {}", SLOT_MINUTES.start(), SLOT_MINUTES.end());
            wrong("slot_minutes", message);
        }
        let openings = openings(&settings.opening_hours, &mut wrong);
        if mistakes.is_empty() {
            Ok(Self { time_zone, length: TimeDelta::minutes(settings.slot_minutes.into()), openings })
        } else {
            Err(mistakes)
        }
    }

    /// How long an appointment is.
    pub fn length(&self) -> TimeDelta {
        self.length
    }

    /// The times that one can still have on `date`, a date of the calendar's own time zone, if nobody has them yet.
    ///
    /// # Errors
    /// [`NotBookable::TooFar`].
    pub fn slots_on(&self, date: NaiveDate, now: DateTime<Utc>) -> Result<Vec<Slot>, NotBookable> {
        let today = now.with_timezone(&self.time_zone).date_naive();
        if date > today + Days::new(MAX_DAYS_AHEAD) {
            return Err(NotBookable::TooFar);
        }
        if date < today {
            return Ok(Vec::new());
        }
        let mut slots = self.day(date);
        slots.retain(|slot| slot.starts_at > now);
        Ok(slots)
    }

    /// The time that begins at `starts_at`, whether somebody has it or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn slot_at(&self, starts_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<Slot, NotBookable> {
        if starts_at <= now {
            return Err(NotBookable::Past);
        }
        // Beyond the years that a clock can show in every time zone.
        if starts_at > now + TimeDelta::days(2 + MAX_DAYS_AHEAD as i64) {
            return Err(NotBookable::TooFar);
        }
        let date = starts_at.with_timezone(&self.time_zone).date_naive();
        let found = self.slots_on(date, now)?.into_iter().find(|slot| slot.starts_at == starts_at);
        found.ok_or(NotBookable::NoSlot)
    }

    fn day(&self, date: NaiveDate) -> Vec<Slot> {
        let midnight = date.and_time(NaiveTime::MIN);
        let mut slots = Vec::new();
        for opening in &self.openings[date.weekday().num_days_from_monday() as usize] {
            let closes = midnight + opening.closes;
            let mut shown = midnight + opening.opens;
            while shown + self.length <= closes {
                let begun = self
                    .instants(shown)
                    .map(|starts_at| Slot { starts_at, ends_at: starts_at + self.length });
                // When the clock is put forward meanwhile, an appointment ends later on it than its length says.
                slots.extend(begun.filter(|slot| self.shown(slot.ends_at) <= closes));
                shown += self.length;
            }
        }
        slots.sort_by_key(|slot| slot.starts_at);
        let mut free_from = DateTime::<Utc>::MIN_UTC;
        slots.retain(|slot| {
            let is_free = slot.starts_at >= free_from;
            if is_free {
                free_from = slot.ends_at;
            }
            is_free
        });
        slots
    }

    /// When the wall clock shows this: never, once, or twice.
    fn instants(&self, shown: NaiveDateTime) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        let found = self.time_zone.from_local_datetime(&shown);
        let second = found.latest().filter(|_| found.single().is_none());
        found.earliest().into_iter().chain(second).map(|instant| instant.to_utc())
    }

    fn shown(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.time_zone).naive_local()
    }
}

fn openings(
    hours: &BTreeMap<String, Vec<[String; 2]>>,
    wrong: &mut impl FnMut(&str, String),
) -> [Vec<Opening>; 7] {
    let mut openings: [Vec<Opening>; 7] = Default::default();
    for (day, pairs) in hours {
        let field = format!("opening_hours.{day}");
        let Some(weekday) = DAYS.iter().position(|known| known == day) else {
            wrong(&field, format!("is no day; the days are {}", DAYS.join(", ")));
            continue;
        };
        if pairs.len() > MAX_OPENINGS {
            wrong(&field, format!("must have at most {MAX_OPENINGS} entries"));
            continue;
        }
        let mut closed_until = TimeDelta::zero();
        for (index, [opens, closes]) in pairs.iter().enumerate() {
            let field = format!("{field}[{index}]");
            let (Some(opens), Some(closes)) = (time_of_day(opens), time_of_day(closes)) else {
                wrong(&field, "must be two times from 00:00 to 24:00, such as 09:00 and 17:00".to_owned());
                continue;
            };
            if opens >= closes {
                wrong(&field, "must close after it opens".to_owned());
            } else if opens < closed_until {
                wrong(&field, "must not open before the one before it has closed".to_owned());
            }
            closed_until = closes;
            openings[weekday].push(Opening { opens, closes });
        }
    }
    openings
}

/// `HH:MM`, up to `24:00`.
fn time_of_day(text: &str) -> Option<TimeDelta> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let is_time = minutes < 60 && hours * 60 + minutes <= 24 * 60;
    is_time.then(|| TimeDelta::minutes(hours * 60 + minutes))
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
