//! A second attempt beside one that is slow to begin.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vendors::llm::{
    AttemptObserver, AttemptOutcome, AttemptReport, CallOptions, Completed, Delta, DeltaSink, LlmVendors,
    Usage,
};

use crate::scripted::{Begins, Ends, Script, Scripted, text};
use crate::support::*;

const SOON: CallOptions = CallOptions { first_attempt: 1, hedge_after: Some(Duration::from_millis(20)) };

/// What came of a call: its result, its reports by number, and the words that went out.
struct Heard {
    completed: Option<Completed>,
    reports: Reports,
    deltas: Vec<Delta>,
}

impl Heard {
    /// All that a listener still shows at the end, who drops what it shows when a higher attempt speaks.
    fn shown(&self) -> String {
        let last = self.deltas.last().map(|delta| delta.attempt);
        let shown = self.deltas.iter().filter(|delta| Some(delta.attempt) == last);
        shown.map(|delta| delta.text.as_str()).collect()
    }

    fn text(&self) -> &str {
        &self.completed.as_ref().unwrap().reply.text
    }
}

/// Asks VendorA, and VendorB behind it.
async fn ask(vendors: &LlmVendors, streams: bool, options: CallOptions) -> Heard {
    let (sink, mut reader) = DeltaSink::channel(10_000);
    let (result, mut reports) =
        complete_with(vendors, &chain(), &hello(), streams.then_some(&sink), options).await;
    drop(sink);
    let mut deltas = Vec::new();
    while let Some(delta) = reader.recv().await {
        deltas.push(delta);
    }
    reports.0.sort_by_key(|report| report.number);
    Heard { completed: result.ok(), reports, deltas }
}

#[tokio::test]
async fn the_next_key_answers_for_one_that_is_silent() {
    for streams in [false, true] {
        let simulator = Simulator::start().await;
        simulator.control_key("vendor_a", "one", json!({"mode": "stall"})).await;
        let vendors = simulator.vendors(|config| {
            config.vendors[0].endpoints =
                ["one", "two"].map(|key| endpoint(simulator.address, "vendor_a", key)).to_vec();
        });
        let heard = ask(&vendors, streams, SOON).await;
        assert_eq!(heard.reports.story(), [(1, "vendor_a", "cancelled"), (2, "vendor_a", "ok")]);
        let endpoints: Vec<_> = heard.reports.0.iter().map(|report| report.endpoint).collect();
        assert_eq!(endpoints, [Some(1), Some(2)]);
        assert_eq!((heard.text(), heard.completed.as_ref().unwrap().attempts), (GREETING, 2));
        assert_eq!(heard.reports.0[0].outcome, AttemptOutcome::Cancelled);
        assert_eq!(heard.reports.0[0].usage, Usage::default(), "no word of it had come");
        if streams {
            assert_eq!(heard.shown(), GREETING);
            assert!(heard.deltas.iter().all(|delta| delta.attempt == 2), "{:?}", heard.deltas);
        }
    }
}

#[tokio::test]
async fn the_next_vendor_answers_where_there_is_no_other_key() {
    for streams in [false, true] {
        let simulator = Simulator::start().await;
        simulator.control("vendor_a", json!({"mode": "stall"})).await;
        let vendors = simulator.vendors(|_| {});
        let heard = ask(&vendors, streams, SOON).await;
        assert_eq!(heard.reports.story(), [(1, "vendor_a", "cancelled"), (2, "vendor_b", "ok")]);
        assert_eq!(heard.completed.unwrap().provider, "vendor_b");
    }
}

#[tokio::test]
async fn without_the_option_or_when_it_is_quick_nothing_is_asked_twice() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    let late = CallOptions { hedge_after: Some(Duration::from_secs(30)), ..SOON };
    for (options, latency_ms) in [(CallOptions::default(), 60), (late, 0)] {
        simulator.control("vendor_a", json!({"latency_ms": latency_ms})).await;
        for streams in [false, true] {
            let heard = ask(&vendors, streams, options).await;
            assert_eq!(heard.reports.story(), [(1, "vendor_a", "ok")]);
        }
    }
}

/// Our client with a VendorA that goes by its script, alone.
fn alone(scripted: &Scripted) -> LlmVendors {
    vendors_at(scripted.address, |config| {
        config.vendors.truncate(1);
        config.max_retries = 2;
    })
}

/// Tells when an attempt has ended.
struct Signal(u32, CancellationToken, Reports);

impl AttemptObserver for Signal {
    async fn attempted(&mut self, report: AttemptReport) {
        if report.number == self.0 {
            self.1.cancel();
        }
        self.2.attempted(report).await;
    }
}

#[tokio::test]
async fn the_same_vendor_is_asked_again_where_there_is_no_other() {
    for streams in [false, true] {
        let scripted = Scripted::start(vec![Script::never(), Script::whole()]).await;
        let heard = ask(&alone(&scripted), streams, SOON).await;
        assert_eq!(heard.reports.story(), [(1, "vendor_a", "cancelled"), (2, "vendor_a", "ok")]);
        assert_eq!(heard.text(), text(1, 5));
    }
}

#[tokio::test]
async fn the_first_goes_on_when_the_second_fails() {
    for streams in [false, true] {
        let failed = CancellationToken::new();
        let first = Script { begins: Begins::When(failed.clone()), ..Script::whole() };
        let second = Script { ends: Ends::Status(500), ..Script::whole() };
        let scripted = Scripted::start(vec![first, second]).await;
        let mut observer = Signal(2, failed, Reports::default());
        let (sink, _deltas) = DeltaSink::channel(100);
        let (vendors, cancel) = (alone(&scripted), CancellationToken::new());
        let deltas = streams.then_some(&sink);
        let result = vendors.complete(&chain(), &hello(), deltas, SOON, &mut observer, &cancel).await;
        assert_eq!(result.unwrap().reply.text, text(0, 5));
        assert_eq!(observer.2.story(), [(2, "vendor_a", "http_500"), (1, "vendor_a", "ok")]);
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_waited_for() {
    // Its first byte comes at once and the rest well after the time for a second attempt.
    let slow = Script { words: 3, pause: Duration::from_millis(600), ..Script::whole() };
    let scripted = Scripted::start(vec![slow]).await;
    let options = CallOptions { hedge_after: Some(Duration::from_secs(1)), ..SOON };
    let heard = ask(&alone(&scripted), true, options).await;
    assert_eq!(heard.reports.story(), [(1, "vendor_a", "ok")]);
    assert_eq!(scripted.received().len(), 1);
}

#[tokio::test]
async fn a_winner_that_breaks_off_is_followed_by_an_attempt_that_starts_over() {
    for ends in [Ends::Drop, Ends::Error, Ends::Stall] {
        let broken = Script { words: 3, ends, ..Script::whole() };
        let scripted = Scripted::start(vec![Script::never(), broken, Script::whole()]).await;
        let vendors = vendors_at(scripted.address, |config| {
            config.vendors.truncate(1);
            config.stall_timeout = IMPATIENT;
        });
        let heard = ask(&vendors, true, SOON).await;
        let estimated = Usage { tokens_in: 11, tokens_cached: 0, tokens_out: 4, estimated: true };
        assert_eq!(heard.reports.0[1].usage, estimated, "{ends:?}: 15 characters had come");
        // On a busy machine the one that follows may be hedged too.
        let spoke: BTreeSet<_> = heard.deltas.iter().map(|delta| delta.attempt).collect();
        assert!(spoke.len() == 2 && spoke.contains(&2), "{ends:?}: {spoke:?}");
        assert_eq!(heard.shown(), heard.text(), "{ends:?}");
        assert!(heard.text().ends_with("w4 "), "{ends:?}: the whole reply");
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_reports_both() {
    let scripted = Scripted::start(vec![Script::never()]).await;
    let (vendors, cancel) = (alone(&scripted), CancellationToken::new());
    let (targets, request, mut reports) = (chain(), hello(), Reports::default());
    let call = vendors.complete(&targets, &request, None, SOON, &mut reports, &cancel);
    let (result, ()) = tokio::join!(call, async {
        while scripted.received().len() < 2 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(result.unwrap_err().attempts, 2);
    reports.0.sort_by_key(|report| report.number);
    assert_eq!(reports.story(), [(1, "vendor_a", "cancelled"), (2, "vendor_a", "cancelled")]);
}

fn random_script(random: &mut SmallRng) -> Script {
    let millis = |random: &mut SmallRng, most| Duration::from_millis(random.random_range(0..=most));
    Script {
        begins: if random.random_bool(0.15) { Begins::Never } else { Begins::After(millis(random, 40)) },
        words: random.random_range(1..6),
        pause: millis(random, 5),
        ends: match random.random_range(0..8) {
            0 => Ends::Drop,
            1 => Ends::Error,
            2 => Ends::Stall,
            3 => Ends::Status([401, 429, 500][random.random_range(0..3)]),
            _ => Ends::Whole,
        },
    }
}

/// Whatever the order of events: each attempt is reported once, its number is its own, every request is some
/// attempt's, and the reply is one attempt's whole reply, with no other words after the last start.
async fn one_call_of_any_kind(seed: u64) -> bool {
    let mut random = SmallRng::seed_from_u64(seed);
    let scripted = Scripted::start((0..8).map(|_| random_script(&mut random)).collect()).await;
    let limit = Duration::from_millis(150);
    let vendors = vendors_at(scripted.address, |config| {
        let keys = ["one", "two"];
        config.vendors.truncate(1);
        config.vendors[0].endpoints = keys.map(|key| endpoint(scripted.address, "vendor_a", key)).to_vec();
        config.vendors[0].endpoints.truncate(1 + (seed % 2) as usize);
        config.max_retries = 2;
        (config.timeout, config.first_token_timeout, config.stall_timeout) = (3 * limit, limit, limit);
    });
    let streams = random.random_bool(0.7);
    let heard = ask(&vendors, streams, SOON).await;
    let reports = &heard.reports.0;
    let numbers: Vec<_> = reports.iter().map(|report| report.number).collect();
    assert_eq!(numbers, (1..=reports.len() as u32).collect::<Vec<_>>(), "seed {seed}");
    let ids: BTreeSet<_> = reports.iter().map(|report| report.attempt_id.to_string()).collect();
    assert_eq!(ids.len(), reports.len(), "seed {seed}");
    assert!(scripted.received().iter().all(|id| ids.contains(id)), "seed {seed}");

    let spoke: Vec<_> = heard.deltas.iter().map(|delta| delta.attempt).collect();
    assert!(spoke.is_sorted(), "seed {seed}: {spoke:?}");
    for report in reports {
        let said = heard.deltas.iter().filter(|delta| delta.attempt == report.number);
        let said: String = said.map(|delta| delta.text.as_str()).collect();
        if !said.is_empty() {
            let whole = scripted.text_of(&report.attempt_id.to_string());
            assert!(whole.starts_with(&said), "seed {seed}: {said} of {whole}");
        }
    }
    let succeeded: Vec<_> =
        reports.iter().filter(|report| report.outcome == AttemptOutcome::Succeeded).collect();
    let Some(completed) = &heard.completed else {
        assert!(succeeded.is_empty(), "seed {seed}");
        return false;
    };
    assert_eq!(succeeded.len(), 1, "seed {seed}");
    assert_eq!(completed.reply.text, scripted.text_of(&succeeded[0].attempt_id.to_string()), "seed {seed}");
    assert!(!streams || heard.shown() == completed.reply.text, "seed {seed}: {}", heard.shown());
    reports.iter().any(|report| report.outcome == AttemptOutcome::Cancelled)
}

#[tokio::test]
async fn every_order_of_events_ends_in_one_attempts_whole_reply() {
    let calls = (0..100).map(one_call_of_any_kind);
    let hedged = futures_util::future::join_all(calls).await.into_iter().filter(|hedged| *hedged).count();
    assert!(hedged > 5, "only {hedged} of the calls were won by one of two attempts");
}
