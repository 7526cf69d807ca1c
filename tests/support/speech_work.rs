//! Work that somebody paid for, put into the log as a call's worker does.

use chrono::{DateTime, Utc};
use cli::system::System;
use events::call::{SpeechKind, SpeechMetered, SpeechOutcome, SpeechWorkMetered};
use events::{
    AgentId, Aggregate, CallId, Cause, CorrelationId, Event, EventId, Origin, Position, SessionId, TenantId,
};
use nats::Expect;
use rust_decimal::Decimal;

/// One piece: a second of speech with ten characters.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    pub tenant_id: TenantId,
    pub agent_id: AgentId,
    pub at: DateTime<Utc>,
    pub model: &'a str,
    pub cost_usd: Decimal,
}

pub fn cause() -> Cause {
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "system".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        key_id: None,
    };
    Cause { origin, causation_id: None }
}

/// Puts `pieces` into the log, each in a call of its own, so that they are in all partitions.
pub async fn spoken(system: &System, pieces: &[Piece<'_>]) -> Vec<Position> {
    let mut positions = Vec::new();
    for some in pieces.chunks(500) {
        let mut pending = Vec::new();
        for piece in some {
            let work = SpeechWorkMetered {
                kind: SpeechKind::Synthesis,
                job_id: None,
                agent_id: piece.agent_id,
                session_id: SessionId::new(),
                provider: "azure".to_owned(),
                model: piece.model.to_owned(),
                audio_ms: 1_000,
                characters: 10,
                outcome: SpeechOutcome::Succeeded,
                metered: SpeechMetered {
                    cost_usd: piece.cost_usd,
                    price_version: "global:1".to_owned(),
                    estimated: false,
                },
            };
            let call = Aggregate::call(piece.tenant_id, CallId::new());
            let event = Event::new(EventId::new(), piece.at, "test", call, &cause(), work);
            pending.push(system.nats.log.send(&event, Expect::Anything).await);
        }
        for sent in pending {
            positions.push(sent.acknowledged().await.unwrap());
        }
    }
    positions
}
