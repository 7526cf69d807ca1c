//! `GET /call` in a real browser: somebody presses the button and talks.

use serde_json::json;
use tests::SpokenWorld;
use tests::caller::voice;
use tests::chromium::{self, Chromium};
use tests::recording::wav;

const QUESTION: &str = "What is the status of invoice INV-TC-001?";
const RATE_HZ: usize = 16_000;
/// Silence before the caller's words and behind them, seconds.
const BEFORE: usize = 2;
const BEHIND: usize = 30;

/// Listens beside the loudspeaker: the highest sample that a page has played.
const EAR: &str = "
    window.loudest = 0;
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (target, ...rest) {
        if (target instanceof AudioDestinationNode) {
            const ear = new AnalyserNode(this.context, { fftSize: 2048 });
            const samples = new Float32Array(ear.fftSize);
            connect.call(this, ear);
            const listening = setInterval(() => {
                ear.getFloatTimeDomainData(samples);
                window.loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), window.loudest);
            }, 20);
            this.addEventListener('ended', () => clearInterval(listening));
        }
        return connect.call(this, target, ...rest);
    };";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_with_a_browser_calls_and_sees_and_hears_the_answer() {
    let Some(program) = chromium::installed().await else {
        println!("LEFT OUT: there is no Chromium on this machine, and it could not be installed.");
        return;
    };
    let here = SpokenWorld::start(json!(null), json!([QUESTION])).await;
    let microphone = here.world.folder.path().join("microphone.wav");
    let silence = |seconds: usize| vec![0; seconds * RATE_HZ];
    let recorded = [silence(BEFORE), voice(), silence(BEHIND)].concat();
    std::fs::write(&microphone, wav(&recorded)).unwrap();
    let mut browser = Chromium::start(program, &microphone, EAR).await;
    browser.open(&here.client.url("/call")).await;
    browser.write("#key", here.client.key()).await;
    browser.click("#setup button").await;
    browser.until("!document.querySelector('#call').disabled").await;
    browser.look(&format!("document.querySelector('#agent').value = {:?}", here.agent)).await;
    browser.click("#call").await;
    browser.until("document.querySelector('#status').textContent.startsWith('Connected')").await;

    let line = |role: &str, words: &str| {
        format!(
            "[...document.querySelectorAll('#transcript .{role}:not(.partial)')]\
             .some((line) => line.textContent.includes({words:?}))"
        )
    };
    browser.until(&line("user", QUESTION)).await;
    browser.until("window.loudest > 0.01").await;
    browser.until(&line("tool", "invoice_lookup")).await;
    browser.until(&line("assistant", "15,000.00")).await;
    browser.until("document.querySelector('#turns').rows.length === 1").await;
    browser.click("#call").await;
    browser.until("document.querySelector('#status').textContent === 'You hung up.'").await;
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);

    let calls = here.client.get("/api/calls").await;
    let call_id = calls.rows()[0]["id"].as_str().unwrap();
    assert_eq!(here.ended(call_id).await.end_reason, "caller_hung_up");
}
