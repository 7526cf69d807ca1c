//! What of a long conversation a model is told: the newest turns whole, and a summary of what was before. Sizes are
//! estimates in tokens that are passed in.
//!
//! A window is shared out so that a rough estimate does no harm:
//!
//! | part | size | for |
//! |---|---|---|
//! | answer | 1/8, at most 4,096 | what the model says |
//! | summary | 1/8, at most 1,024 | what was said before the lines that are told |
//! | most | the rest | what cannot be left out: system prompt, tools, the open turn |
//! | room | 3/4 less the answer | the whole of a request that has lines to leave out |

/// A conversation with so many lines is summarised however short they are: the fold keeps
/// [`crate::session::HISTORY_LINES`], and no more.
pub const MANY_LINES: usize = 80;
/// So many of the newest lines stay whenever the window has room for them.
pub const FEW_LINES: usize = 4;
/// The fixed part of a request for a summary has at most so many tokens.
pub const INSTRUCTION_TOKENS: u64 = 256;
/// What a line costs beyond its words: who says it.
const LINE_TOKENS: u64 = 4;

const MAX_ANSWER_TOKENS: u64 = 4_096;
const MAX_SUMMARY_TOKENS: u64 = 1_024;

/// What a model can take in and answer at once, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub u64);

impl Window {
    /// What is left for the answer.
    pub fn answer(self) -> u64 {
        (self.0 / 8).min(MAX_ANSWER_TOKENS)
    }

    /// What a summary may have.
    pub fn summary(self) -> u64 {
        (self.0 / 8).min(MAX_SUMMARY_TOKENS)
    }

    /// What a request may have when nothing can be left out of it.
    pub fn most(self) -> u64 {
        self.0 - self.answer() - self.summary()
    }

    /// What a request may have while there is something to leave out.
    pub fn room(self) -> u64 {
        self.0 / 4 * 3 - self.answer()
    }
}

/// A line of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// A turn begins with the customer's line.
    pub by_customer: bool,
    pub tokens: u64,
}

/// A request as it would be, were everything told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// System prompt, tools, the message and what was done for it so far.
    pub open: u64,
    /// 0: there is none. What is beyond the window's share for it is not told.
    pub summary: u64,
    /// Oldest first.
    pub lines: Vec<Said>,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Everything is told.
    Whole,
    /// The oldest lines are not told. A summary takes their place.
    Shorten {
        /// How many there are of them.
        leave_out: usize,
        /// How many of them one request for a summary can take; at least one, and whole turns.
        summarise: usize,
    },
    /// Not even the message alone fits.
    TooLarge { tokens: u64, most: u64 },
}

/// Fits a request into `window`. Turns are told whole or not at all, the open one always. A conversation from which the
/// lines were left out and that has a summary is whole.
pub fn fit(load: &Load, window: Window) -> Fit {
    let Load { open, summary, lines } = load;
    if *open > window.most() {
        return Fit::TooLarge { tokens: *open, most: window.most() };
    }
    let told = open + summary.min(&window.summary()) + lines.iter().map(tokens).sum::<u64>();
    if lines.is_empty() || (told <= window.room() && lines.len() < MANY_LINES) {
        return Fit::Whole;
    }
    let leave_out = lines.len() - newest(lines, open + window.summary(), window);
    Fit::Shorten { leave_out, summarise: oldest(&lines[..leave_out], window) }
}

/// How many of the newest lines stay, beside `beside` tokens of other things: as many as half of the room takes, and
/// the last few even if they take more.
fn newest(lines: &[Said], beside: u64, window: Window) -> usize {
    let (mut kept, mut told) = (0, beside);
    for turn in turns(lines).into_iter().rev() {
        told += turn.iter().map(tokens).sum::<u64>();
        let with = kept + turn.len();
        let fits = told <= window.room() / 2 || (with <= FEW_LINES && told <= window.room());
        if !fits || with > MANY_LINES / 2 {
            break;
        }
        kept = with;
    }
    kept
}

/// How many of the oldest lines fit into a request for a summary, which tells the earlier one too.
fn oldest(lines: &[Said], window: Window) -> usize {
    let (mut taken, mut told) = (0, INSTRUCTION_TOKENS + window.summary());
    for turn in turns(lines) {
        told += turn.iter().map(tokens).sum::<u64>();
        if taken > 0 && told > window.room() {
            break;
        }
        taken += turn.len();
    }
    taken
}

/// A customer's line with what follows it. What stands before the first is a turn of its own.
fn turns(lines: &[Said]) -> Vec<&[Said]> {
    lines.chunk_by(|_, next| !next.by_customer).collect()
}

fn tokens(line: &Said) -> u64 {
    line.tokens + LINE_TOKENS
}

/// The window of a vendor's models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelWindow {
    pub provider: String,
    /// `None`: of all its models that have no window of their own.
    pub model: Option<String>,
    pub tokens: u64,
}

/// The windows of all models; of two entries for the same the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(pub Vec<ModelWindow>);

impl Windows {
    /// Of a model nobody knows anything of.
    pub const UNKNOWN: Window = Window(4_096);
    /// A smaller one has no room for a conversation.
    pub const SMALLEST: u64 = 1_024;

    /// A model's own window, else its vendor's.
    pub fn of(&self, provider: &str, model: &str) -> Window {
        let find = |wanted: Option<&str>| {
            self.0.iter().find(|known| known.provider == provider && known.model.as_deref() == wanted)
        };
        find(Some(model)).or_else(|| find(None)).map_or(Self::UNKNOWN, |known| Window(known.tokens))
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
