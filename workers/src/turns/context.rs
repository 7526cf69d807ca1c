//! Requests that fit the window of every model of the agent's chain. What has to be left out is summarised first, once
//! and for all; where that fails it is left out of this turn's requests, and the next turn tries again.

use domain::context::{Load, fit};
use domain::{Fit, Line, Said, Window};
use nats::Failure;
use projections::configuration::AgentRecord;
use vendors::llm::estimate::{cut, message_tokens, tokens, tool_tokens};
use vendors::llm::{ChatMessage, ChatRequest, Target};

use super::attempts::Attempts;
use super::summary::{self, Made, Material};
use super::{Claimed, conversation};
use crate::Workers;

/// Summaries that one turn makes at most; each costs a request and the customer's time.
const MAX_SUMMARIES: u32 = 3;

/// How the requests of one turn are made.
pub(super) struct Context<'a> {
    workers: &'a Workers,
    agent: &'a AgentRecord,
    chain: &'a [Target],
    window: Window,
    summaries_left: u32,
}

/// What came of it.
pub(super) enum Fitted {
    Request(ChatRequest),
    /// Nothing that could be left out would be enough.
    TooLarge {
        detail: String,
    },
    /// Another worker has taken the turn over.
    ShutOut,
}

impl<'a> Context<'a> {
    pub(super) fn new(workers: &'a Workers, agent: &'a AgentRecord, chain: &'a [Target]) -> Self {
        let window = smallest_window(workers, chain);
        Self { workers, agent, chain, window, summaries_left: MAX_SUMMARIES }
    }

    /// What the model may say in one answer.
    pub(super) fn most_answer_tokens(&self) -> u32 {
        u32::try_from(self.window.answer()).unwrap_or(u32::MAX)
    }

    /// The next request of the turn.
    pub(super) async fn request(
        &mut self,
        claimed: &mut Claimed,
        attempts: &mut Attempts<'_>,
        may_use_tools: bool,
    ) -> Result<Fitted, Failure> {
        loop {
            let mut request = conversation::request(self.workers, claimed, self.agent, may_use_tools).await?;
            let told = Told::in_request(&mut request, claimed, self.window);
            let (leave_out, summarise) = match fit(&told.load, self.window) {
                Fit::Whole => return Ok(Fitted::Request(request)),
                Fit::TooLarge { tokens, most } => return Ok(self.too_large(tokens, most)),
                Fit::Shorten { leave_out, summarise } => (leave_out, summarise),
            };
            if self.summaries_left > 0 {
                self.summaries_left -= 1;
                let material = Material {
                    chain: self.chain,
                    window: self.window,
                    before: &request.messages[..told.first_line],
                    lines: &request.messages[told.first_line..][..summarise],
                };
                match summary::make(self.workers, claimed, attempts, &material).await? {
                    Made::Stands => continue,
                    Made::ShutOut => return Ok(Fitted::ShutOut),
                    Made::Nothing => self.summaries_left = 0,
                }
            }
            request.messages.drain(told.first_line..told.first_line + leave_out);
            return Ok(Fitted::Request(request));
        }
    }

    fn too_large(&self, tokens: u64, most: u64) -> Fitted {
        let window = self.window.0;
        let detail = format!(
            "the message, the agent's prompt and its tools come to about {tokens} tokens; of the smallest window of the \
             agent's models, {window}, they can have {most}"
        );
        Fitted::TooLarge { detail }
    }
}

/// What any of the chain's models can take in. With nobody to ask, that is why the work fails, and not this.
pub(crate) fn smallest_window(workers: &Workers, chain: &[Target]) -> Window {
    let windows = chain
        .iter()
        .filter(|target| workers.vendors.has(&target.provider))
        .map(|target| workers.config.windows.of(&target.provider, &target.model));
    windows.min_by_key(|window| window.0).unwrap_or(Window(u64::MAX))
}

/// A request's parts and their sizes.
struct Told {
    /// The place of the first line of the past among the messages; before it stands the summary, if there is one.
    first_line: usize,
    load: Load,
}

impl Told {
    /// Cuts a summary that was made for a larger window.
    fn in_request(request: &mut ChatRequest, claimed: &Claimed, window: Window) -> Self {
        let session = &claimed.session;
        let first_line = usize::from(session.summary.is_some());
        if let Some(ChatMessage::User { content }) =
            request.messages.get_mut(..first_line).and_then(<[_]>::first_mut)
        {
            *content = cut(content, window.summary());
        }
        let (before, rest) = request.messages.split_at(first_line);
        let (past, open) = rest.split_at(session.history.len());
        let sum = |messages: &[ChatMessage]| messages.iter().map(message_tokens).sum::<u64>();
        let said = |(line, message): (&Line, &ChatMessage)| Said {
            by_customer: matches!(line, Line::Customer(_)),
            tokens: message_tokens(message),
        };
        let tools: u64 = request.tools.iter().map(tool_tokens).sum();
        let load = Load {
            open: tokens(&request.system) + tools + sum(open),
            summary: sum(before),
            lines: session.history.iter().zip(past).map(said).collect(),
        };
        Self { first_line, load }
    }
}
