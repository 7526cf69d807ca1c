//! Samples of webhooks and what is sent to them.

use chrono::TimeDelta;

use super::{id, sealed, time};
use crate::tenant::WebhookSecretRotated as TenantWebhookSecretRotated;
use crate::webhook::*;
use crate::{Payload, WebhookId};

fn webhook_id() -> WebhookId {
    id(19).into()
}

fn settings() -> WebhookSettings {
    WebhookSettings {
        url: "https://crm.example.com/hooks/vocalbridge".to_owned(),
        description: "Tells the CRM of calls".to_owned(),
        events: vec!["job.completed".to_owned(), "call.ended".to_owned()],
        is_active: true,
    }
}

pub(super) fn callback() -> Callback {
    Callback { url: sealed(), sealed_for: id(101).into() }
}

const BODY: &str = r#"{"type":"session.ended","timestamp":"2025-11-21T04:40:00Z","data":{"session_id":"01935c00-0000-7000-8000-000000000002","reason":"ended_by_agent"}}"#;

pub(super) fn payloads() -> Vec<Payload> {
    let (webhook_id, delivery_id) = (webhook_id(), id(20).into());
    vec![
        WebhookCreated { webhook_id, settings: settings(), secret: sealed() }.into(),
        WebhookChanged { webhook_id, version: 2, settings: settings() }.into(),
        WebhookSecretRotated { webhook_id, secret: sealed(), previous_until: time() + TimeDelta::hours(24) }
            .into(),
        WebhookDisabled { webhook_id, reason: DisabledReason::Gone, delivery_id }.into(),
        WebhookDeleted { webhook_id }.into(),
        DeliveryQueued {
            delivery_id,
            recipient: Recipient::Endpoint(webhook_id),
            queued_for: QueuedFor::Event,
            event_type: "session.ended".to_owned(),
            event_id: id(120).into(),
            body: BODY.to_owned(),
            seal_with: id(7),
        }
        .into(),
        DeliveryAttempted {
            delivery_id,
            webhook_id: Some(webhook_id),
            number: 1,
            started_at: time(),
            duration_ms: 48,
            status: Some(503),
            error_code: Some("http_503".to_owned()),
            response: Some(sealed()),
            response_cut: false,
            end: AttemptEnd::Again { at: time() + TimeDelta::seconds(5) },
        }
        .into(),
        DeliveryAbandoned { delivery_id, webhook_id: Some(webhook_id), reason: AbandonedReason::Deleted }
            .into(),
        TenantWebhookSecretRotated {
            webhook_secret: sealed(),
            previous_until: time() + TimeDelta::hours(24),
        }
        .into(),
    ]
}

/// Where an event of these is kept; `None`: it is none of them.
pub(super) fn aggregate_of(tenant_id: crate::TenantId, payload: &Payload) -> Option<crate::Aggregate> {
    match payload {
        Payload::WebhookCreated(_)
        | Payload::WebhookChanged(_)
        | Payload::WebhookSecretRotated(_)
        | Payload::WebhookDisabled(_)
        | Payload::WebhookDeleted(_) => Some(crate::Aggregate::webhooks(tenant_id)),
        Payload::DeliveryQueued(_) | Payload::DeliveryAttempted(_) | Payload::DeliveryAbandoned(_) => {
            Some(crate::Aggregate::webhook_deliveries(tenant_id, Some(webhook_id())))
        }
        Payload::TenantWebhookSecretRotated(_) => Some(crate::Aggregate::tenant(tenant_id)),
        _ => None,
    }
}
