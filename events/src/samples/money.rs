//! Prices, correcting what was charged by them, and invoices.

use chrono::TimeDelta;
use rust_decimal::Decimal;

use super::{id, time};
use crate::billing::InvoiceClosed;
use crate::prices::{Per, Price, PriceKind, PricesChanged, PricesOrigin, Rate, Unit};
use crate::repricing::*;
use crate::session::Channel;
use crate::{Payload, RepricingId, TenantId};

pub(super) fn payloads() -> Vec<Payload> {
    let (repricing_id, tenant_id) = (RepricingId(id(30)), TenantId(id(1)));
    let (provider, model) = ("openai".to_owned(), "gpt-4.1".to_owned());
    vec![
        PricesChanged { version: 4, effective_from: time(), prices: prices(), origin: PricesOrigin::Api }
            .into(),
        RepricingRequested {
            repricing_id,
            number: 2,
            tenant_id: Some(tenant_id),
            from: time(),
            to: time(),
            prices: prices(),
            reason: "The vendor lowered its price on the 1st".to_owned(),
            dry_run: false,
        }
        .into(),
        TenantRepriced {
            repricing_id,
            tenant_id,
            differences: vec![RepricingDifference {
                kind: PriceKind::Model,
                provider: provider.clone(),
                model: model.clone(),
                entries: 41,
                before_usd: Decimal::new(12_400, 4),
                after_usd: Decimal::new(9_300, 4),
            }],
        }
        .into(),
        RepricingCompleted { repricing_id }.into(),
        RepricingFailed { repricing_id, reason: "the database does not answer".to_owned() }.into(),
        LedgerAdjusted {
            repricing_id,
            repricing_number: 2,
            entry_id: id(31).into(),
            entry_occurred_at: Some(time()),
            session_id: id(2).into(),
            job_id: Some(id(3).into()),
            agent_id: id(4).into(),
            channel: Channel::Chat,
            provider,
            model,
            delta_usd: Decimal::new(-62, 6),
            price_version: "repricing:2".to_owned(),
        }
        .into(),
        InvoiceClosed {
            month: "2025-11".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            starts_at: time(),
            ends_at: time() + TimeDelta::days(30),
            through: vec![81_230, 79_981, 80_444],
            entries: 41_207,
            total_usd: Decimal::new(1_234_567_890_123, 9),
        }
        .into(),
    ]
}

fn prices() -> Vec<Price> {
    let rate = |unit, usd| Rate { unit, usd, per: Per::Million };
    vec![Price {
        kind: PriceKind::Model,
        provider: "openai".to_owned(),
        model: Some("gpt-4.1".to_owned()),
        rates: vec![
            rate(Unit::Input, Decimal::TWO),
            rate(Unit::CachedInput, Decimal::new(5, 1)),
            rate(Unit::Output, Decimal::from(8)),
        ],
    }]
}
