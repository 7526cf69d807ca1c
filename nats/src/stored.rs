//! Reading many messages of a stream at once.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::subjects;

const TIMEOUT: Duration = Duration::from_secs(3);

/// The first messages of a stream with one of some subjects, from a sequence on.
pub(crate) struct Batch<'a> {
    pub stream: &'a str,
    pub filter: &'a str,
    pub from: u64,
    pub most: usize,
}

/// A message as it stands in its stream.
pub(crate) struct Stored {
    pub sequence: u64,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

impl Batch<'_> {
    /// What there is, and whether there is more. One batch request of the direct-get API (nats-server 2.11): many answers
    /// to one inbox, ended by a status 204.
    pub(crate) async fn read(&self, context: &Context) -> Result<(Vec<Stored>, bool), async_nats::Error> {
        let client = context.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await?;
        let request = serde_json::json!({
            "seq": self.from, "next_by_subj": self.filter, "batch": self.most,
        });
        client
            .publish_with_reply(subjects::direct_get(self.stream), inbox, request.to_string().into())
            .await?;
        let mut batch = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let answer =
                tokio::time::timeout_at(deadline, answers.next()).await?.ok_or("the subscription ended")?;
            let headers = answer.headers.unwrap_or_default();
            match answer.status.map(|status| status.as_u16()) {
                Some(204) => return Ok((batch, number(&headers, "Nats-Num-Pending") > 0)),
                Some(404) => return Ok((batch, false)),
                Some(status) => return Err(format!("status {status}").into()),
                None => {}
            }
            let sequence = number(&headers, "Nats-Sequence");
            batch.push(Stored { sequence, headers, payload: answer.payload });
        }
    }
}

/// Zero when the header is not there.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers.get(name).and_then(|value| value.as_str().parse().ok()).unwrap_or_default()
}
