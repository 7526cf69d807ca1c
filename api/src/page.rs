//! Lists: newest first, page by page.

use std::fmt::Display;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use projections::database::Page;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::extract::id_of;
use crate::problem::Problem;

pub(crate) const DEFAULT_LIMIT: i64 = 100;
pub(crate) const MAX_LIMIT: i64 = 1_000;

/// The part of a list that is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    pub after: Option<String>,
}

impl PageQuery {
    pub(crate) fn page(&self) -> Result<Page, Problem> {
        page_of(self.limit, self.after.as_deref())
    }
}

/// # Errors
/// When the limit is out of range or the cursor is none of ours.
pub(crate) fn page_of(limit: Option<i64>, after: Option<&str>) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid_field("limit", format_args!("must be 1 to {MAX_LIMIT}")));
    }
    let after = match after {
        None => None,
        Some(cursor) => {
            Some(id_of(cursor).ok_or_else(|| Problem::invalid_field("after", "is no cursor of ours"))?)
        }
    };
    Ok(Page { limit, after })
}

/// Where the next page begins: after the last of the `ids` that were fetched, when there may be more.
pub(crate) fn next_after(page: Page, ids: impl ExactSizeIterator<Item = Uuid>) -> Option<Uuid> {
    let is_full = i64::try_from(ids.len()).is_ok_and(|count| count == page.limit);
    ids.last().filter(|_| is_full)
}

/// Answers one page, which names the next. `filters` are the other parameters of the query.
pub(crate) fn list<T: Serialize>(
    path: &str,
    filters: &[(&str, Option<String>)],
    page: Page,
    next_after: Option<impl Display>,
    entries: Vec<T>,
) -> Response {
    match next_after.map(|last| next_link(path, filters, page.limit, &last)) {
        Some(link) => ([(header::LINK, link)], Json(entries)).into_response(),
        None => Json(entries).into_response(),
    }
}

fn next_link(path: &str, filters: &[(&str, Option<String>)], limit: i64, last: &impl Display) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("limit", &limit.to_string()).append_pair("after", &last.to_string());
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_limits() {
        assert_eq!(page_of(None, None).unwrap(), Page { limit: 100, after: None });
        for limit in [0, -1, 1_001] {
            assert!(page_of(Some(limit), None).is_err());
        }
        assert!(page_of(None, Some("not a cursor")).is_err());
    }

    #[test]
    fn a_full_page_names_the_next_with_its_filters() {
        let last = Uuid::from_u128(7);
        let page = Page { limit: 2, after: None };
        let filters = [("correlation_id", Some("a&b".to_owned())), ("job_id", None)];
        let response = list("/api/things", &filters, page, Some(last), vec![1, 2]);
        assert_eq!(
            response.headers()[header::LINK],
            format!("</api/things?correlation_id=a%26b&limit=2&after={last}>; rel=\"next\"")
        );
        assert!(
            list("/api/things", &filters, page, None::<Uuid>, vec![1]).headers().get(header::LINK).is_none()
        );
    }

    #[test]
    fn only_a_full_page_has_a_next() {
        let ids = [Uuid::from_u128(9), Uuid::from_u128(7)];
        assert_eq!(next_after(Page { limit: 2, after: None }, ids.into_iter()), Some(ids[1]));
        assert_eq!(next_after(Page { limit: 3, after: None }, ids.into_iter()), None);
    }
}
