//! The calendar among an agent's fields: merging what a client sends, and its checks.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use domain::calendar::{self, Calendar, DEFAULT_SLOT_MINUTES, DEFAULT_TIME_ZONE};
use events::agent::CalendarSettings;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::routes::merge::{Sent, or, sent};
use crate::validation::Mistakes;

/// When appointments can be had. By default Monday to Friday, 09:00 to 17:00 UTC, in half hours.
// `Serialize` is for utoipa, which writes the defaults of the fields around it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({
    "time_zone": "Europe/Berlin", "slot_minutes": 45,
    "opening_hours": { "mon": [["09:00", "12:00"], ["13:00", "17:00"]], "fri": [["09:00", "12:00"]] }
}))]
pub(super) struct CalendarPatch {
    /// An IANA name.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    time_zone: Sent<String>,
    /// How long an appointment is.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 5, maximum = 240)]
    slot_minutes: Sent<u32>,
    /// By day, `mon` to `sun`: pairs of opening and closing time on the wall clock of the time zone, `00:00` to
    /// `24:00`. A day that is not there is closed.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<BTreeMap<String, Vec<Vec<String>>>>)]
    opening_hours: Sent<BTreeMap<String, Option<Vec<[String; 2]>>>>,
}

impl CalendarPatch {
    /// `current` with what was sent put over it.
    pub(super) fn merged_into(self, current: Option<&CalendarSettings>) -> CalendarSettings {
        let default = calendar::default_settings();
        let base = current.unwrap_or(&default);
        let opening_hours = match self.opening_hours {
            None => base.opening_hours.clone(),
            Some(None) => default.opening_hours.clone(),
            Some(Some(days)) => {
                // The default hours are no hours that a client could have meant to add to.
                let mut hours = current.map(|current| current.opening_hours.clone()).unwrap_or_default();
                for (day, openings) in days {
                    match openings {
                        Some(openings) => hours.insert(day, openings),
                        None => hours.remove(&day),
                    };
                }
                hours
            }
        };
        CalendarSettings {
            time_zone: or(self.time_zone, &base.time_zone, || DEFAULT_TIME_ZONE.to_owned()),
            slot_minutes: or(self.slot_minutes, &base.slot_minutes, || DEFAULT_SLOT_MINUTES),
            opening_hours,
        }
    }
}

pub(super) fn check(settings: Option<&CalendarSettings>, mistakes: &mut Mistakes) {
    for mistake in Calendar::of(settings).err().unwrap_or_default() {
        mistakes.add(&format!("calendar.{}", mistake.field), mistake.message);
    }
}

/// The calendar as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CalendarView {
    time_zone: String,
    slot_minutes: u32,
    #[schema(value_type = BTreeMap<String, Vec<Vec<String>>>)]
    opening_hours: BTreeMap<String, Vec<[String; 2]>>,
}

impl From<CalendarSettings> for CalendarView {
    fn from(settings: CalendarSettings) -> Self {
        let CalendarSettings { time_zone, slot_minutes, opening_hours } = settings;
        Self { time_zone, slot_minutes, opening_hours }
    }
}

/// As [`sent`], but nothing else than an object: serde would take an array for a struct's fields in their order.
pub(super) fn sent_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Sent<T>, D::Error> {
    let sent = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(Some(sent.map(|Object(value)| value)))
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
