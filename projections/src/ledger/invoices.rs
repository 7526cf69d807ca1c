//! Invoices: which entries stand on one follows from their places in the log and from nothing else, least of all from the
//! order in which partitions were applied. An open month and a closed one are added up by the same statement.

use chrono::{DateTime, Utc};
use domain::{Month, Tokens};
use events::billing::InvoiceClosed;
use events::{Entry, Payload, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, count, readable, text};
use crate::database::{Database, Error, Page};
use crate::projection::Projection;

/// A month that is closed.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedInvoice {
    pub id: Uuid,
    pub closed: InvoiceClosed,
    pub closed_at: DateTime<Utc>,
    /// Of the event, in the tenant's history of closed months.
    pub sequence: u64,
}

/// What stands on one invoice.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Whose entries are on no earlier invoice, unless they are of before its beginning.
    pub month: Month,
    /// By partition the last sequence; `None`: all that there is.
    pub through: Option<Vec<u64>>,
    pub earlier: Earlier,
}

/// What became of the entries of before the month.
#[derive(Clone, Debug, PartialEq)]
pub enum Earlier {
    /// No month was invoiced before: they are on this one.
    None,
    /// They are on earlier invoices up to these sequences, by partition; what came later is on this one.
    Closed(Vec<u64>),
    /// They are on the month before, which is open still.
    Open,
}

/// What one model's work of one month amounts to.
#[derive(Clone, Debug, PartialEq)]
pub struct InvoiceLine {
    /// That the work was done in: the invoice's, or an earlier one.
    pub month: String,
    /// As the entries have it.
    pub kind: String,
    pub provider: String,
    pub model: String,
    pub entries: u64,
    pub requests: u64,
    pub tokens: Tokens,
    pub audio_ms: u64,
    pub characters: u64,
    /// USD, not rounded.
    pub cost_usd: Decimal,
}

/// A tenant whose next month may be over.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub tenant_id: TenantId,
    pub time_zone: String,
    pub created_at: DateTime<Utc>,
}

/// Writes what follows from closed months; there are few of them.
pub(super) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for (sequence, event) in readable(entries) {
        let Payload::InvoiceClosed(closed) = &event.payload else { continue };
        sqlx::query!(
            "insert into closed_invoices (tenant_id, invoice_id, month, time_zone, starts_at, ends_at, through, entries,
                total_usd, closed_at, sequence)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict on constraint closed_invoices_pkey do nothing",
            event.envelope.aggregate.tenant_id.0,
            event.envelope.id.0,
            &*text(&closed.month),
            &*text(&closed.time_zone),
            closed.starts_at,
            closed.ends_at,
            &sequences(&closed.through),
            big(closed.entries),
            closed.total_usd,
            event.envelope.time,
            sequence,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn sequences(through: &[u64]) -> Vec<i64> {
    through.iter().map(|sequence| big(*sequence)).collect()
}

/// The lines of an invoice: its own month's first, then what came late. `None`: the ledger has not come to where the
/// invoice ends.
///
/// # Errors
/// When the database does not answer.
pub async fn lines(
    database: &Database,
    tenant_id: TenantId,
    bounds: &Bounds,
) -> Result<Option<Vec<InvoiceLine>>, Error> {
    let Bounds { month, through, earlier } = bounds;
    let (since, late_since) = match earlier {
        Earlier::None => (DateTime::UNIX_EPOCH, vec![]),
        Earlier::Closed(through) => (month.starts_at, sequences(through)),
        Earlier::Open => (month.starts_at, vec![]),
    };
    let through = through.as_deref().map(sequences);
    let until =
        |partition| through.as_ref().map_or(i64::MAX, |through| through.get(partition).copied().unwrap_or(0));
    let late_until: Vec<i64> = (0..late_since.len()).map(until).collect();
    let name = month.to_string();
    let mut tx = database.tenant(tenant_id).await?;
    // On the same connection: a database that crashes in between takes it along, with what it may have forgotten.
    if let Some(through) = &through
        && !ledger_has_come_to(&mut tx, through).await?
    {
        return Ok(None);
    }
    // What belongs to an earlier month is called by the invoice that the month had; there is none only for what is older
    // than the tenant. `offset 0` has what came late looked up by its place: joined, all there ever was would be read.
    let rows = sqlx::query!(
        r#"select
            case when belongs_at >= $2 then $4 else coalesce(
                (select closed.month from closed_invoices as closed
                 where closed.tenant_id = $1 and belongs_at >= closed.starts_at and belongs_at < closed.ends_at),
                to_char(belongs_at at time zone 'UTC', 'YYYY-MM')
            ) end as "month!",
            kind as "kind!", provider as "provider!", model as "model!", count(*) as "entries!",
            least($8, sum(requests))::int8 as "requests!", least($8, sum(tokens_in))::int8 as "tokens_in!",
            least($8, sum(tokens_cached))::int8 as "tokens_cached!", least($8, sum(tokens_out))::int8 as "tokens_out!",
            least($8, sum(audio_ms))::int8 as "audio_ms!", least($8, sum(characters))::int8 as "characters!",
            sum(cost_usd) as "cost_usd!"
         from (
            select entry.* from usage_entries as entry
            where tenant_id = $1 and occurred_at >= $5 and occurred_at < $3
                and ($6::int8[] is null or sequence <= ($6::int8[])[partition + 1])
            union all
            select entry.* from unnest($7::int8[], $9::int8[]) with ordinality as late (since, until, number)
            cross join lateral (
                select * from usage_entries
                where tenant_id = $1 and partition = number - 1 and sequence > since and sequence <= until
                    and occurred_at < $2
                offset 0
            ) as entry
         ) as entry
         group by 1, 2, 3, 4"#,
        tenant_id.0,
        month.starts_at,
        month.ends_at,
        name,
        since,
        through.as_deref() as _,
        &late_since,
        Decimal::from(i64::MAX),
        &late_until,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut lines: Vec<InvoiceLine> = rows
        .into_iter()
        .map(|row| InvoiceLine {
            month: row.month,
            kind: row.kind,
            provider: row.provider,
            model: row.model,
            entries: count(row.entries),
            requests: count(row.requests),
            tokens: Tokens {
                input: count(row.tokens_in),
                cached: count(row.tokens_cached),
                output: count(row.tokens_out),
            },
            audio_ms: count(row.audio_ms),
            characters: count(row.characters),
            cost_usd: row.cost_usd,
        })
        .collect();
    // Not the database's order, which depends on its locale.
    let order = |line: &InvoiceLine| {
        let InvoiceLine { month, kind, provider, model, .. } = line;
        (*month != name, month.clone(), kind.clone(), provider.clone(), model.clone())
    };
    lines.sort_by_cached_key(order);
    Ok(Some(lines))
}

/// Whether the ledger's tables, as this connection sees them, know all up to these sequences.
async fn ledger_has_come_to(connection: &mut PgConnection, through: &[i64]) -> Result<bool, sqlx::Error> {
    let missing = sqlx::query_scalar!(
        r#"select exists (
            select from unnest($2::int8[]) with ordinality as wanted (sequence, number)
            left join checkpoints on projection = $1 and partition = number - 1
            where coalesce(checkpoints.sequence, 0) < wanted.sequence
         ) as "missing!""#,
        Projection::Ledger.name(),
        through,
    )
    .fetch_one(connection)
    .await?;
    Ok(!missing)
}

/// The tenant's closed months, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn closed(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<ClosedInvoice>, Error> {
    found(database, tenant_id, None, page).await
}

/// The closed month that is written so, and the one before it.
///
/// # Errors
/// When the database does not answer.
pub async fn closed_month(
    database: &Database,
    tenant_id: TenantId,
    month: &str,
) -> Result<Option<(ClosedInvoice, Option<ClosedInvoice>)>, Error> {
    let mut found = found(database, tenant_id, Some(month), Page::first(2)).await?.into_iter();
    Ok(found.next().map(|wanted| (wanted, found.next())))
}

/// `newest`: the first to be answered, and not what came after it.
async fn found(
    database: &Database,
    tenant_id: TenantId,
    newest: Option<&str>,
    page: Page,
) -> Result<Vec<ClosedInvoice>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select invoice_id, month, time_zone, starts_at, ends_at, through, entries, total_usd, closed_at,
            sequence
         from closed_invoices
         where tenant_id = $1
            and ($2::text is null
                or ends_at <= (select ends_at from closed_invoices where tenant_id = $1 and month = $2))
            and ($3::uuid is null
                or ends_at < (select ends_at from closed_invoices where tenant_id = $1 and invoice_id = $3))
         order by ends_at desc limit $4",
        tenant_id.0,
        newest,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let invoices = rows.into_iter().map(|row| ClosedInvoice {
        id: row.invoice_id,
        closed: InvoiceClosed {
            month: row.month,
            time_zone: row.time_zone,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            through: row.through.into_iter().map(count).collect(),
            entries: count(row.entries),
            total_usd: row.total_usd,
        },
        closed_at: row.closed_at,
        sequence: count(row.sequence),
    });
    Ok(invoices.collect())
}

/// Tenants of which a month that is not closed may have ended before `until`, by id from the one after `after` on.
///
/// # Errors
/// When the database does not answer.
pub async fn due(
    database: &Database,
    until: DateTime<Utc>,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<Due>, Error> {
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant_id!", time_zone as "time_zone!", created_at as "created_at!"
         from tenants_to_invoice($1, $2, $3)"#,
        until,
        after.map(|id| id.0),
        limit,
    )
    .fetch_all(database.app())
    .await?;
    let due = rows.into_iter().map(|row| Due {
        tenant_id: TenantId(row.tenant_id),
        time_zone: row.time_zone,
        created_at: row.created_at,
    });
    Ok(due.collect())
}
