//! The same rows as JSON, as CSV for spreadsheets, or as NDJSON for programs.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::problem::Problem;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Ndjson,
}

impl Format {
    /// The query's `format`, else the most wanted of those in `Accept`, of equals the first of these.
    ///
    /// # Errors
    /// When `sent` is none of them.
    pub(crate) fn of(sent: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        match sent {
            None => Ok(Self::accepted(headers)),
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("ndjson") => Ok(Self::Ndjson),
            Some(_) => Err(Problem::invalid_field("format", "must be json, csv or ndjson")),
        }
    }

    fn accepted(headers: &HeaderMap) -> Self {
        let sent = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let items: Vec<(String, f32)> = sent.flat_map(|value| value.split(',')).map(media_range).collect();
        let quality = |format: Self| {
            let ranges: &[&str] = match format {
                Self::Json => &["application/json", "application/*", "*/*"],
                Self::Csv => &["text/csv", "text/*"],
                Self::Ndjson => &["application/x-ndjson", "application/ndjson"],
            };
            let known = ranges.iter().find_map(|range| items.iter().find(|(sent, _)| sent == range));
            known.map_or(0.0, |(_, quality)| *quality)
        };
        let others = [Self::Csv, Self::Ndjson].into_iter();
        others.fold(Self::Json, |best, other| if quality(other) > quality(best) { other } else { best })
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// `text/csv;q=0.5`
fn media_range(item: &str) -> (String, f32) {
    let mut parts = item.split(';').map(|part| part.trim().to_ascii_lowercase());
    let range = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").and_then(|quality| quality.parse().ok()));
    (range, quality.unwrap_or(1.0))
}

/// A row, flat: each field is a column.
pub(crate) trait Row: Serialize {
    /// The names of the fields, in their order.
    const COLUMNS: &'static [&'static str];

    /// The fields with what people or vendors have called something.
    fn names(&mut self) -> Vec<&mut String>;
}

/// Answers `rows` in a file called `name`. Not for [`Format::Json`], whose answers say more than rows.
///
/// # Errors
/// When a row cannot be written, which is a defect.
pub(crate) fn file<R: Row>(format: Format, name: &str, rows: Vec<R>) -> Result<Response, Problem> {
    let bytes = written(format, true, rows)?;
    Ok((headers(format, name)?, bytes).into_response())
}

/// The same of rows that come page by page: what is sent is kept by nobody. When a page fails, the answer breaks off.
pub(crate) fn stream<R: Row + Send + 'static>(
    format: Format,
    name: &str,
    pages: impl Stream<Item = Result<Vec<R>, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    let heading = stream::once(async move { written::<R>(format, true, vec![]) });
    let rows = pages.map(move |page| page.and_then(|rows| written(format, false, rows)));
    let broken = |problem: Problem| {
        tracing::warn!(cause = problem.cause(), "an export breaks off");
        std::io::Error::other(problem.detail().to_owned())
    };
    let body = Body::from_stream(heading.chain(rows).map_err(broken));
    Ok((headers(format, name)?, body).into_response())
}

fn headers(format: Format, name: &str) -> Result<[(header::HeaderName, HeaderValue); 3], Problem> {
    let disposition = format!("attachment; filename=\"{name}.{}\"", format.extension());
    let disposition = HeaderValue::from_str(&disposition).map_err(|error| Problem::internal(&error))?;
    Ok([
        (header::CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (header::CONTENT_DISPOSITION, disposition),
        (header::VARY, HeaderValue::from_static("accept")),
    ])
}

fn written<R: Row>(format: Format, with_heading: bool, rows: Vec<R>) -> Result<Bytes, Problem> {
    if format != Format::Csv {
        let mut lines = Vec::new();
        for row in &rows {
            serde_json::to_writer(&mut lines, row).map_err(|error| Problem::internal(&error))?;
            lines.push(b'\n');
        }
        return Ok(lines.into());
    }
    let mut csv =
        csv::WriterBuilder::new().has_headers(false).terminator(csv::Terminator::CRLF).from_writer(vec![]);
    let defect = |error: csv::Error| Problem::internal(&error);
    if with_heading {
        csv.write_record(R::COLUMNS).map_err(defect)?;
    }
    for mut row in rows {
        row.names().into_iter().for_each(quoted);
        csv.serialize(&row).map_err(defect)?;
    }
    let bytes = csv.into_inner().map_err(|error| Problem::internal(error.error()))?;
    Ok(bytes.into())
}

/// A spreadsheet takes a cell that begins like a formula for one, and runs it; with an apostrophe before, it is text.
fn quoted(name: &mut String) {
    if name.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        name.insert(0, '\'');
    }
}

/// Proves that `COLUMNS` are what `row` is written as.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_columns<R: Row>(row: &R) {
    let mut csv = csv::Writer::from_writer(vec![]);
    csv.serialize(row).unwrap();
    let text = String::from_utf8(csv.into_inner().unwrap()).unwrap();
    assert_eq!(text.lines().next().unwrap().split(',').collect::<Vec<_>>(), R::COLUMNS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Named {
        name: String,
        change: &'static str,
    }

    impl Row for Named {
        const COLUMNS: &'static [&'static str] = &["name", "change"];

        fn names(&mut self) -> Vec<&mut String> {
            vec![&mut self.name]
        }
    }

    fn text(format: Format, name: &str) -> String {
        let rows = vec![Named { name: name.to_owned(), change: "-1.5" }];
        String::from_utf8(written(format, true, rows).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn what_looks_like_a_formula_is_text_and_figures_stay_figures() {
        assert_columns(&Named { name: String::new(), change: "0" });
        for (name, cell) in [
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("gpt-4.1, mini", "\"gpt-4.1, mini\""),
            ("gpt=", "gpt="),
        ] {
            assert_eq!(text(Format::Csv, name), format!("name,change\r\n{cell},-1.5\r\n"));
        }
        assert_eq!(text(Format::Ndjson, "=1"), "{\"name\":\"=1\",\"change\":\"-1.5\"}\n");
    }

    #[test]
    fn nothing_is_a_heading_alone() {
        assert_eq!(&written::<Named>(Format::Csv, true, vec![]).unwrap()[..], b"name,change\r\n");
        assert_eq!(&written::<Named>(Format::Ndjson, true, vec![]).unwrap()[..], b"");
    }

    #[test]
    fn the_query_says_more_than_the_headers() {
        let accept =
            |value: &'static str| [(header::ACCEPT, HeaderValue::from_static(value))].into_iter().collect();
        let of = |value| Format::of(None, &accept(value)).unwrap();
        assert_eq!(of("text/csv"), Format::Csv);
        assert_eq!(of("application/x-ndjson, application/json;q=0.9"), Format::Ndjson);
        assert_eq!(of("text/csv;q=0.5, */*"), Format::Json);
        assert_eq!(of("text/html, */*;q=0.1"), Format::Json);
        assert_eq!(of("text/csv;q=0"), Format::Json);
        assert_eq!(Format::of(None, &HeaderMap::new()).unwrap(), Format::Json);
        assert_eq!(Format::of(Some("csv"), &accept("application/json")).unwrap(), Format::Csv);
        assert!(Format::of(Some("xml"), &HeaderMap::new()).is_err());
    }
}
