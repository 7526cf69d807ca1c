//! What is printed.

use hdrhistogram::Histogram;

use crate::barge_in::Seen as BargeIn;
use crate::calls::Stage;
use crate::load::Measured;
use crate::machine::Stalls;
use crate::media::Way;
use crate::vendor_layer::VendorLayer;

pub fn machine(stalls: &Stalls) {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cpus} cores; client, vendor, nats-server and Postgres on the same machine");
    println!(
        "before the load, others took a core for over 1 ms {:.1} times a second, the longest time {:.1} ms\n",
        stalls.per_second,
        stalls.longest.as_secs_f64() * 1_000.0
    );
}

pub fn vendor_layer(measured: &VendorLayer) {
    let micros = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1_000.0;
    println!("the vendor layer alone, OpenAI's format over server-sent events:");
    println!(
        "  from the vendor's byte to ours: p50 {:.0} us, p90 {:.0} us, p99 {:.0} us",
        micros(0.5),
        micros(0.9),
        micros(0.99)
    );
    println!("  {:.0} tokens/s through one stream\n", measured.tokens_per_second);
    println!(
        "{:<34} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "milliseconds", "p50", "p90", "p99", "p99.9", "requests/s"
    );
}

pub fn pair(name: &str, direct: &Measured, gateway: &Measured) {
    row(&format!("{name}: vendor"), direct);
    row(&format!("{name}: system"), gateway);
    added("  added", &Measured::added(direct, gateway));
}

pub fn added(name: &str, [p50, p90, p99, p999]: &[f64; 4]) {
    println!("{name:<34} {p50:>8.2} {p90:>8.2} {p99:>8.2} {p999:>8.2}\n");
}

fn row(name: &str, measured: &Measured) {
    let quantile = |q| measured.quantile_ms(q);
    println!("{name}");
    println!(
        "{:<34} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>10.0}",
        "",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        measured.throughput()
    );
}

pub fn costs(name: &str, measured: &Measured, memory_mib: f64) {
    println!("CPU per message {name}: {:.3} ms ({})", measured.cpu_ms, measured.cpu_split);
    println!("peak memory of api, workers and projections: {memory_mib:.0} MiB");
}

/// The figures that were to be reached.
pub fn verdict(
    one: &[f64; 4],
    steady: &[f64; 4],
    many: &Measured,
    memory_mib: f64,
    rebuilt_per_second: f64,
    vendor_layer: &VendorLayer,
) {
    to_reach();
    line("added p50, one connection, 0 ms vendor (ms)", one[0], 1.2, true);
    line("added p99, one connection, 0 ms vendor (ms)", one[2], 2.3, true);
    line("added p99 at 100/s, 0 ms vendor (ms)", steady[2], 6.0, true);
    line("messages/s over 64 connections", many.throughput(), 1_800.0, false);
    line("CPU per message over all processes (ms)", many.cpu_ms, 0.85, true);
    line("rebuild of all projections (events/s)", rebuilt_per_second, 25_000.0, false);
    line("api and workers together (MiB)", memory_mib, 100.0, true);
    let byte_to_byte_us = vendor_layer.latency.value_at_quantile(0.5) as f64 / 1_000.0;
    line("vendor's byte to ours, p50 (us)", byte_to_byte_us, 100.0, true);
}

pub fn media_heading() {
    let names = ["ripple dB", "SNR dB", "alias dB", "late ms", "x real time"];
    print!("{:<36}", "the media path, one core");
    names.iter().for_each(|name| print!(" {name:>11}"));
    println!();
}

pub fn media_way(name: &str, way: &Way) {
    let Way { ripple_db, snr_db, unwanted_db, delay_ms, times_real_time } = way;
    println!(
        "{name:<36} {ripple_db:>11.2} {snr_db:>11.1} {unwanted_db:>11.1} {delay_ms:>11.2} {times_real_time:>11.0}"
    );
}

/// The worst of our own ways, and how many times faster than real time G.711 and framing are.
pub fn media_verdict(own: &[Way], mulaw: f64, framing: f64) {
    let most = |figure: fn(&Way) -> f64| own.iter().map(figure).fold(f64::MIN, f64::max);
    let least = |figure: fn(&Way) -> f64| own.iter().map(figure).fold(f64::MAX, f64::min);
    to_reach();
    line("resampling: ripple up to 3.4 kHz (dB)", most(|way| way.ripple_db), 0.1, true);
    line("resampling: SNR of tones up to 3.4 kHz (dB)", least(|way| way.snr_db), 90.0, false);
    line("resampling: aliases and images (dB)", most(|way| way.unwanted_db), -80.0, true);
    line("resampling: delay (ms)", most(|way| way.delay_ms), 5.0, true);
    line("resampling: times real time", least(|way| way.times_real_time), 10_000.0, false);
    line("mu-law there and back: times real time", mulaw, 20_000.0, false);
    line("framing: times real time", framing, 100_000.0, false);
    println!();
}

pub fn calls_heading() {
    println!("calls at once, 20 ms u-law frames in real time; milliseconds, busy cores, KiB");
    println!(
        "{:>5} {:>6} {:>6} {:>6} {:>6} {:>24} {:>15} {:>8} {:>8} {:>27} {:>9} {:>6}",
        "calls",
        "spoilt",
        "turns",
        "silent",
        "breaks",
        "frame delay 50/99/99.9",
        "gap 50/99",
        "ring 99",
        "own 99",
        "cores: ours nats pg outside",
        "KiB/call",
        "load"
    );
}

pub fn calls_stage(stage: &Stage) {
    let [delay, late, latest] = [0.5, 0.99, 0.999].map(|quantile| millis(&stage.delay, quantile));
    let [gap, longest_gap] = [0.5, 0.99].map(|quantile| millis(&stage.gap, quantile));
    let [ours, nats, postgres, outside] = stage.cores;
    println!(
        "{:>5} {:>6} {:>6} {:>6} {:>6} {:>24} {:>15} {:>8.0} {:>8.1} {:>27} {:>9.0} {:>6.1}",
        stage.calls,
        stage.failed,
        stage.turns,
        stage.unheard + stage.unanswered,
        stage.breaks,
        format!("{delay:.1} {late:.1} {latest:.1}"),
        format!("{gap:.0} {longest_gap:.0}"),
        millis(&stage.set_up, 0.99),
        millis(&stage.own_delay, 0.99),
        format!("{ours:.2} {nats:.2} {postgres:.2} {outside:.2}"),
        stage.memory_per_call_kib(),
        stage.load_before
    );
    if let Some(failure) = &stage.first_failure {
        println!("      the first that failed: {failure}");
    }
    if !stage.ahead {
        println!("      the callers waited for the same processors: chrt is missing, or not allowed");
    }
}

/// What was to be reached with 500 calls, of the largest stage up to there.
pub fn calls_verdict(stages: &[Stage]) {
    const WANTED: usize = 500;
    const MOST_DELAY_MS: f64 = 10.0;
    let is_good = |stage: &&Stage| millis(&stage.delay, 0.99) <= MOST_DELAY_MS && stage.spoiled() == 0;
    let most = stages.iter().filter(is_good).map(|stage| stage.calls).max().unwrap_or_default();
    to_reach();
    line("calls at once, none spoilt, frame delay p99 <= 10 ms", most as f64, WANTED as f64, false);
    if let Some(stage) = stages.iter().rfind(|stage| stage.calls <= WANTED) {
        let calls = stage.calls;
        let delay_ms = millis(&stage.delay, 0.99);
        line(&format!("frame delay p99 of {calls} calls (ms)"), delay_ms, MOST_DELAY_MS, true);
        line(&format!("spoilt of {calls} calls"), stage.spoiled() as f64, 0.0, true);
        line(&format!("memory per call of {calls} (KiB)"), stage.memory_per_call_kib(), 200.0, true);
    }
    println!();
}

/// Answers whether agents are stopped as soon as they were to be.
pub fn barge_in(calls: usize, lines: &[BargeIn]) -> bool {
    const MOST_MS: f64 = 250.0;
    const MOST_OURS_MS: f64 = 50.0;
    let count: u64 = lines.iter().map(|line| line.total.len()).sum();
    println!("barge-in: {count} interruptions over {calls} calls at once; milliseconds");
    println!("{:<34} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p90", "p99", "most");
    for BargeIn { line, total, ours } in lines {
        for (what, histogram) in [("from speech to silence", total), ("  of which ours", ours)] {
            let [p50, p90, p99, most] = [0.5, 0.9, 0.99, 1.0].map(|quantile| millis(histogram, quantile));
            println!("{:<34} {p50:>8.1} {p90:>8.1} {p99:>8.1} {most:>8.1}", format!("{line}: {what}"));
        }
    }
    to_reach();
    let mut reached = true;
    for BargeIn { line: name, total, ours } in lines {
        reached &= line(&format!("barge-in, {name}, p99 (ms)"), millis(total, 0.99), MOST_MS, true);
        reached &= line(&format!("barge-in, {name}: ours, p99 (ms)"), millis(ours, 0.99), MOST_OURS_MS, true);
    }
    println!();
    reached
}

fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

fn to_reach() {
    println!("\n{:<52} {:>10} {:>10}", "to reach", "measured", "limit");
}

/// Answers whether it was reached.
fn line(name: &str, measured: f64, limit: f64, most: bool) -> bool {
    let reached = if most { measured <= limit } else { measured >= limit };
    println!("{name:<52} {measured:>10.2} {limit:>10.2} {}", if reached { "reached" } else { "SHORT" });
    reached
}
