//! Comparing a rebuilt table with the live one, row by row over all columns.

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::column::count;
use crate::projection::Table;

/// At most this many differing rows are listed per table; all are counted.
pub const LISTED: usize = 1_000;

/// A value that is not the same in the live table and in the rebuilt one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub table: &'static str,
    /// The values of the primary key, joined by `/`.
    pub key: String,
    /// `*` when one side has no such row; the other side's value is then the whole row.
    pub column: String,
    /// As Postgres writes it; `None` is null, or no such row.
    pub live: Option<String>,
    pub rebuilt: Option<String>,
}

pub(crate) struct Found {
    pub differences: Vec<Difference>,
    pub rows: u64,
}

pub(crate) async fn compare(connection: &mut PgConnection, table: &Table) -> Result<Found, sqlx::Error> {
    let Table { name, key } = table;
    let columns: Vec<String> = sqlx::query_scalar!(
        r#"select attname::text as "name!" from pg_attribute
           where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum"#,
        format!("vocalbridge.{name}")
    )
    .fetch_all(&mut *connection)
    .await?;
    let list = |side: &str| {
        columns.iter().map(|column| format!("{side}.{column}::text")).collect::<Vec<_>>().join(", ")
    };
    let keys = |form: &dyn Fn(&str) -> String, between| {
        key.iter().map(|column| form(column)).collect::<Vec<_>>().join(between)
    };
    let same_key = keys(&|column| format!("live.{column} = rebuilt.{column}"), " and ");
    let key_text = keys(&|column| format!("coalesce(live.{column}, rebuilt.{column})::text"), " || '/' || ");
    let first_key = key[0];
    // `*=` compares the stored values themselves, so types without an equality of their own are compared too.
    let differing = format!(
        "from vocalbridge.{name} as live full join pg_temp.{name} as rebuilt on {same_key}
         where live.{first_key} is null or rebuilt.{first_key} is null or not live::record *= rebuilt::record"
    );
    // Nothing analyses a temporary table by itself.
    sqlx::raw_sql(AssertSqlSafe(format!("analyze pg_temp.{name}"))).execute(&mut *connection).await?;
    let listed = format!(
        "select {key_text}, live.{first_key} is not null, rebuilt.{first_key} is not null, array[{}], array[{}],
            live::text, rebuilt::text {differing} order by 1 limit {LISTED}",
        list("live"),
        list("rebuilt")
    );
    let rows = sqlx::query(AssertSqlSafe(listed)).fetch_all(&mut *connection).await?;
    let mut differences = Vec::new();
    for row in &rows {
        let key: String = row.try_get(0)?;
        let difference = |column: &str, live, rebuilt| Difference {
            table: name,
            key: key.clone(),
            column: column.to_owned(),
            live,
            rebuilt,
        };
        let (in_live, in_rebuilt): (bool, bool) = (row.try_get(1)?, row.try_get(2)?);
        if !(in_live && in_rebuilt) {
            let live = if in_live { row.try_get(5)? } else { None };
            let rebuilt = if in_rebuilt { row.try_get(6)? } else { None };
            differences.push(difference("*", live, rebuilt));
            continue;
        }
        let (live, rebuilt): (Vec<Option<String>>, Vec<Option<String>>) = (row.try_get(3)?, row.try_get(4)?);
        for ((column, live), rebuilt) in columns.iter().zip(live).zip(rebuilt) {
            if live != rebuilt {
                differences.push(difference(column, live, rebuilt));
            }
        }
    }
    let mut differing_rows = rows.len() as u64;
    if rows.len() == LISTED {
        let all =
            sqlx::query(AssertSqlSafe(format!("select count(*) {differing}"))).fetch_one(connection).await?;
        differing_rows = count(all.try_get(0)?);
    }
    Ok(Found { differences, rows: differing_rows })
}
