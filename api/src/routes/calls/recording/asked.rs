//! What a request wants of a recording: as what, and which part (RFC 9110, sections 12.5.1, 13.1 and 14).

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, header};

/// As what a recording is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Wav,
    Mp3,
}

impl Kind {
    /// MP3 is for those who would rather have it; whatever else they ask for, there is WAV.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        let sent: Vec<(String, f32)> = items(headers, header::ACCEPT).map(media_range).collect();
        let quality = |kind: Self| {
            let ranges = [kind.media_type(), "audio/*", "*/*"];
            let known = ranges.iter().find_map(|range| sent.iter().find(|(sent, _)| sent == range));
            known.map_or(0.0, |(_, quality)| *quality)
        };
        if quality(Self::Mp3) > quality(Self::Wav) { Self::Mp3 } else { Self::Wav }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
        }
    }

    /// The unit of the ranges there are.
    pub(super) fn ranges(self) -> &'static str {
        match self {
            Self::Wav => "bytes",
            Self::Mp3 => "none",
        }
    }
}

/// `audio/*;q=0.5`
fn media_range(item: &str) -> (String, f32) {
    let mut parts = item.split(';').map(|part| part.trim().to_ascii_lowercase());
    let range = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").and_then(|quality| quality.parse().ok()));
    (range, quality.unwrap_or(1.0))
}

/// Whether one of the tags in `If-None-Match` is this one.
pub(crate) fn is_there_already(headers: &HeaderMap, tag: &str) -> bool {
    items(headers, header::IF_NONE_MATCH).any(|item| item == "*" || item.trim_start_matches("W/") == tag)
}

/// Which of a file's bytes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Portion {
    Whole,
    Part(Range<u64>),
    /// The range begins where the file has ended.
    Beyond,
}

impl Portion {
    /// Of a file with so many bytes. A range that is not one, several ranges, and those of another version of the file
    /// are passed over, as the standard has it.
    pub(crate) fn of(headers: &HeaderMap, tag: &str, length: u64) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let is_of_this = headers.get(header::IF_RANGE).is_none_or(|sent| sent.as_bytes() == tag.as_bytes());
        let range = text(header::RANGE).filter(|_| is_of_this).and_then(byte_range);
        let range = match range {
            None => return Self::Whole,
            Some((None, suffix)) => length.saturating_sub(suffix)..length,
            Some((Some(first), last)) => first..last.saturating_add(1).min(length),
        };
        if range.start < range.end { Self::Part(range) } else { Self::Beyond }
    }
}

/// First and last byte of `bytes=0-99` or `bytes=100-`, or of `bytes=-50` nothing and the length.
fn byte_range(text: &str) -> Option<(Option<u64>, u64)> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first, last) {
        ("", suffix) => Some((None, number(suffix)?)),
        (first, "") => Some((Some(number(first)?), u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((Some(first), last))
        }
    }
}

/// Digits only. What is too large for a number is more than any file has.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The items of a header that is a list.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"7-wav\"";

    fn headers(sent: &[(HeaderName, &str)]) -> HeaderMap {
        sent.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn mp3_is_for_those_who_prefer_it() {
        let preferred = |accept| Kind::preferred(&headers(&[(header::ACCEPT, accept)]));
        for accept in ["audio/mpeg", "Audio/MPEG, */*;q=0.5", "audio/wav;q=0.2, audio/*", "audio/mpeg;q=0.1"]
        {
            assert_eq!(preferred(accept), Kind::Mp3, "{accept}");
        }
        for accept in
            ["*/*", "audio/*", "audio/mpeg, audio/wav", "audio/mpeg;q=0, */*", "application/json", ""]
        {
            assert_eq!(preferred(accept), Kind::Wav, "{accept}");
        }
        assert_eq!(Kind::preferred(&HeaderMap::new()), Kind::Wav);
    }

    #[test]
    fn a_range_is_cut_to_the_file() {
        let portion = |range| Portion::of(&headers(&[(header::RANGE, range)]), TAG, 1_000);
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=10-19", 10..20),
            ("Bytes = 010-19", 10..20),
            ("bytes=990-", 990..1_000),
            ("bytes=999-99999999999999999999999", 999..1_000),
            ("bytes=-1", 999..1_000),
            ("bytes=-5000", 0..1_000),
        ] {
            assert_eq!(portion(range), Portion::Part(expected), "{range}");
        }
        for beyond in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=18446744073709551615-"] {
            assert_eq!(portion(beyond), Portion::Beyond, "{beyond}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_passed_over() {
        let portion = |range| Portion::of(&headers(&[(header::RANGE, range)]), TAG, 1_000);
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "seconds=0-1",
        ] {
            assert_eq!(portion(range), Portion::Whole, "{range}");
        }
        assert_eq!(Portion::of(&HeaderMap::new(), TAG, 1_000), Portion::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_passed_over() {
        let portion = |if_range| {
            Portion::of(&headers(&[(header::RANGE, "bytes=0-9"), (header::IF_RANGE, if_range)]), TAG, 1_000)
        };
        assert_eq!(portion(TAG), Portion::Part(0..10));
        for other in ["\"8-wav\"", "W/\"7-wav\"", "Sat, 21 Nov 2026 19:00:00 GMT"] {
            assert_eq!(portion(other), Portion::Whole, "{other}");
        }
    }

    #[test]
    fn what_is_there_already_is_known_by_any_of_its_tags() {
        let known = |tags| is_there_already(&headers(&[(header::IF_NONE_MATCH, tags)]), TAG);
        assert!(["*", "\"7-wav\"", "W/\"7-wav\"", "\"1-wav\", \"7-wav\""].into_iter().all(known));
        assert!(!["\"7-mp3\"", "7-wav", ""].into_iter().any(known));
    }
}
