use chrono::{DateTime, NaiveDate, Utc};
use events::agent::CalendarSettings;

use super::*;

fn given(time_zone: &str, slot_minutes: u32, hours: &[(&str, &[(&str, &str)])]) -> Calendar {
    Calendar::of(Some(&settings(time_zone, slot_minutes, hours))).unwrap()
}

fn settings(time_zone: &str, slot_minutes: u32, hours: &[(&str, &[(&str, &str)])]) -> CalendarSettings {
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| [(*a).to_owned(), (*b).to_owned()]).collect();
    let opening_hours = hours.iter().map(|(day, open)| ((*day).to_owned(), pairs(open))).collect();
    CalendarSettings { time_zone: time_zone.to_owned(), slot_minutes, opening_hours }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The beginnings that are offered on `day`, asked long before.
fn offered(calendar: &Calendar, day: &str) -> Vec<String> {
    let now = at("2026-01-01T00:00:00Z");
    let slots = calendar.slots_on(date(day), now).unwrap();
    for [one, next] in slots.array_windows() {
        assert!(!one.overlaps(next), "{one:?} {next:?}");
    }
    slots.iter().map(|slot| slot.starts_at.format("%H:%M").to_string()).collect()
}

#[test]
fn without_settings_it_is_half_hours_of_office_time_in_utc() {
    let calendar = Calendar::of(None).unwrap();
    let monday = offered(&calendar, "2026-03-02");
    assert_eq!(monday.len(), 16);
    assert_eq!((monday[0].as_str(), monday[15].as_str()), ("09:00", "16:30"));
    assert!(offered(&calendar, "2026-03-07").is_empty(), "a Saturday");
}

#[test]
fn times_are_those_of_the_calendars_own_zone() {
    let calendar = given("America/New_York", 60, &[("mon", &[("09:00", "11:00")])]);
    assert_eq!(offered(&calendar, "2026-01-05"), ["14:00", "15:00"]);
    assert_eq!(offered(&calendar, "2026-07-06"), ["13:00", "14:00"]);
}

#[test]
fn an_appointment_that_would_last_beyond_closing_is_not_offered() {
    let calendar = given("UTC", 45, &[("mon", &[("09:00", "10:15"), ("23:00", "24:00")])]);
    assert_eq!(offered(&calendar, "2026-03-02"), ["09:00", "23:00"]);
}

#[test]
fn a_time_that_the_clock_skips_in_spring_is_not_offered() {
    // 02:00 becomes 03:00 on 8 March 2026.
    let calendar = given("America/New_York", 30, &[("sun", &[("01:00", "04:00")])]);
    assert_eq!(offered(&calendar, "2026-03-08"), ["06:00", "06:30", "07:00", "07:30"]);
}

#[test]
fn an_appointment_across_the_skipped_hour_still_ends_before_closing() {
    let calendar = given("America/New_York", 60, &[("sun", &[("01:30", "02:30"), ("03:00", "04:00")])]);
    // 01:30 and an hour is 03:30 on this day.
    assert_eq!(offered(&calendar, "2026-03-08"), ["07:00"]);
    assert_eq!(offered(&calendar, "2026-03-15"), ["05:30", "07:00"]);
}

#[test]
fn a_time_that_the_clock_shows_twice_in_autumn_is_offered_for_each_time_once() {
    // 02:00 becomes 01:00 on 1 November 2026.
    let calendar = given("America/New_York", 30, &[("sun", &[("00:30", "02:30")])]);
    assert_eq!(offered(&calendar, "2026-11-01"), ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]);
}

#[test]
fn in_the_repeated_hour_no_appointment_reaches_into_the_next() {
    let calendar = given("America/New_York", 90, &[("sun", &[("00:00", "06:00")])]);
    // 01:30 comes at 05:30 and at 06:30 UTC; who begins at the first is there until 07:00.
    assert_eq!(offered(&calendar, "2026-11-01"), ["04:00", "05:30", "08:00", "09:30"]);
}

#[test]
fn what_is_over_is_not_offered() {
    let calendar = Calendar::of(None).unwrap();
    let now = at("2026-03-02T15:30:00Z");
    let slots = calendar.slots_on(date("2026-03-02"), now).unwrap();
    assert_eq!(
        slots,
        [
            Slot { starts_at: at("2026-03-02T16:00:00Z"), ends_at: at("2026-03-02T16:30:00Z") },
            Slot { starts_at: at("2026-03-02T16:30:00Z"), ends_at: at("2026-03-02T17:00:00Z") }
        ]
    );
    assert_eq!(calendar.slots_on(date("2026-02-27"), now), Ok(vec![]));
    assert_eq!(calendar.slots_on(NaiveDate::MIN, now), Ok(vec![]));
    assert_eq!(calendar.slot_at(now, now), Err(NotBookable::Past));
}

#[test]
fn nothing_is_offered_beyond_366_days() {
    let calendar = Calendar::of(None).unwrap();
    let now = at("2026-03-02T15:30:00Z");
    assert_eq!(calendar.slots_on(date("2027-03-03"), now).unwrap().len(), 16);
    assert_eq!(calendar.slots_on(date("2027-03-04"), now), Err(NotBookable::TooFar));
    assert_eq!(calendar.slots_on(NaiveDate::MAX, now), Err(NotBookable::TooFar));
    assert_eq!(calendar.slot_at(at("2027-03-04T09:00:00Z"), now), Err(NotBookable::TooFar));
    assert_eq!(calendar.slot_at(DateTime::<Utc>::MAX_UTC, now), Err(NotBookable::TooFar));
}

#[test]
fn an_appointment_begins_when_a_slot_begins() {
    let calendar = given("Asia/Kolkata", 60, &[("mon", &[("05:00", "06:00")])]);
    let now = at("2026-03-01T00:00:00Z");
    // Monday 05:00 in Kolkata is Sunday in UTC, and the hour goes over midnight there.
    let slot = calendar.slot_at(at("2026-03-01T23:30:00Z"), now).unwrap();
    assert_eq!(slot.ends_at, at("2026-03-02T00:30:00Z"));
    assert_eq!(calendar.slot_at(at("2026-03-01T23:31:00Z"), now), Err(NotBookable::NoSlot));
    assert_eq!(calendar.slot_at(at("2026-03-01T23:30:00.5Z"), now), Err(NotBookable::NoSlot));
}

#[test]
fn every_mistake_in_the_settings_is_named() {
    let wrong = settings(
        "Mars/Olympus",
        4,
        &[
            ("mon", &[("09:00", "17:00"), ("16:00", "18:00")]),
            ("tue", &[("17:00", "09:00")]),
            ("wed", &[("9:00", "17:00")]),
            ("thu", &[("00:00", "24:01")]),
            ("someday", &[]),
        ],
    );
    let fields: Vec<String> =
        Calendar::of(Some(&wrong)).unwrap_err().into_iter().map(|mistake| mistake.field).collect();
    assert_eq!(
        fields,
        [
            "time_zone",
            "slot_minutes",
            "opening_hours.mon[1]",
            "opening_hours.someday",
            "opening_hours.thu[0]",
            "opening_hours.tue[0]",
            "opening_hours.wed[0]",
        ]
    );
    for minutes in [5, 240] {
        assert!(Calendar::of(Some(&settings("UTC", minutes, &[]))).is_ok());
    }
    assert!(Calendar::of(Some(&settings("UTC", 241, &[]))).is_err());
}

#[test]
fn a_calendar_without_opening_hours_offers_nothing() {
    assert!(offered(&given("UTC", 30, &[]), "2026-03-02").is_empty());
}
