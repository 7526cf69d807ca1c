//! `vocalbridge call`: a telephone for tests and for people. It plays a file or speaks a text to an agent of a running
//! system, and shows what was said, what was heard and how long it took.

mod api;
mod caller;
pub mod phone;
mod player;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use api::Api;
use caller::Caller;
use phone::{Heard, Phone};
use player::FRAME;

/// The agent has finished when nothing was heard of it for so long.
const PAUSE_FRAMES: u32 = 40;
/// A greeting that has not begun by then will not come.
const GREETING_FRAMES: u32 = 150;
/// An answer that has not begun by then will not come.
const ANSWER_FRAMES: u32 = 1_500;
const FRAME_TIME: Duration = Duration::from_millis(20);
const PATH: &str = "call.wav";

#[derive(Args)]
pub struct Call {
    /// Name or id of the agent
    #[arg(long)]
    agent: String,
    /// Say what is in this file (wav, mp3, m4a, webm, ogg); may be given several times
    #[arg(long, conflicts_with = "text")]
    wav: Vec<PathBuf>,
    /// Say this, with the local voice; given several times, each waits for the answer to the one before
    #[arg(long)]
    text: Vec<String>,
    #[arg(long, value_enum, default_value = "browser")]
    transport: Transport,
    /// Where the system that `vocalbridge dev` runs keeps its data
    #[arg(long, default_value = ".data")]
    data_dir: PathBuf,
    /// The address of another system
    #[arg(long, requires = "api_key")]
    url: Option<String>,
    #[arg(long)]
    api_key: Option<String>,
    /// Where the recording goes: left what was said, right what was heard
    #[arg(long, default_value = PATH)]
    recording: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    Browser,
    Twilio,
}

/// Holds the call.
///
/// # Errors
/// When the system cannot be reached, refuses the call, or says nothing.
pub async fn call(options: Call) -> Result<()> {
    if options.text.is_empty() && options.wav.is_empty() {
        bail!("say something: --text or --wav");
    }
    let mut lines = Vec::new();
    for path in &options.wav {
        lines.push(caller::read(path)?);
    }
    if !options.text.is_empty() {
        let voice = Caller::new()?;
        for text in &options.text {
            lines.push(voice.speak(text).await?);
        }
    }
    let api = match (&options.url, &options.api_key) {
        (Some(url), Some(key)) => Api::new(url, key)?,
        _ => Api::of_dev(&options.data_dir, &options.agent)?,
    };
    let (call_id, mut phone) = api.dial(&options.agent, options.transport).await?;
    println!("calling {} ({call_id})", options.agent);
    let talked = talk(&mut phone, &lines).await;
    phone.hang_up().await;
    caller::write(&options.recording, &phone.said, &phone.heard)?;
    talked?;
    let call = api.ended(&call_id).await?;
    let call_id = call["id"].as_str().unwrap_or_default().to_owned();
    for line in api.transcript(&call_id).await?.iter().filter(|line| line["content"] != "") {
        println!(
            "{:>9}: {}",
            line["role"].as_str().unwrap_or_default(),
            line["content"].as_str().unwrap_or_default()
        );
    }
    for turn in call["turns"].as_array().into_iter().flatten() {
        println!("latency: {}", latencies(turn));
    }
    println!(
        "{} after {} s, {} USD; recording in {}",
        call["end_reason"].as_str().unwrap_or("over"),
        call["duration_seconds"],
        call["cost_usd"].as_str().unwrap_or("0"),
        options.recording.display()
    );
    Ok(())
}

/// Says each line once the agent has finished, and hears it out.
async fn talk(phone: &mut Phone, lines: &[Vec<i16>]) -> Result<()> {
    let mut tick = tokio::time::interval(FRAME_TIME);
    hear_out(phone, &mut tick, GREETING_FRAMES).await?;
    for line in lines {
        for chunk in line.chunks(FRAME) {
            let mut frame = [0; FRAME];
            frame[..chunk.len()].copy_from_slice(chunk);
            if !pass(phone, &mut tick, &frame).await? {
                return Ok(());
            }
        }
        if !hear_out(phone, &mut tick, ANSWER_FRAMES).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits until the agent has begun, and then has finished. `false`: the call is over.
async fn hear_out(phone: &mut Phone, tick: &mut tokio::time::Interval, most: u32) -> Result<bool> {
    let mut waited = 0;
    let mut has_spoken = false;
    loop {
        if !pass(phone, tick, &[0; FRAME]).await? {
            return Ok(false);
        }
        waited += 1;
        has_spoken |= phone.silent_frames == 0;
        if has_spoken && phone.silent_frames >= PAUSE_FRAMES || !has_spoken && waited >= most {
            return Ok(true);
        }
    }
}

/// One frame's time. `false`: the call is over.
async fn pass(phone: &mut Phone, tick: &mut tokio::time::Interval, frame: &[i16; FRAME]) -> Result<bool> {
    loop {
        // Both are cancel-safe.
        tokio::select! {
            biased;
            _ = tick.tick() => return Ok(phone.tick(frame).await.is_ok()),
            heard = phone.next() => match heard? {
                Heard::Closed => return Ok(false),
                Heard::Told(told) => show(&told),
                Heard::Audio | Heard::Cleared => {}
            },
        }
    }
}

/// Shows what a browser is told while the call lasts.
fn show(told: &Value) {
    match told["type"].as_str() {
        Some("tool_call") if !told["result"].is_null() => {
            println!("     tool: {} {} -> {}", told["name"], told["arguments"], told["result"]);
        }
        Some("session_ended") => println!("   ended: {}", told["reason"].as_str().unwrap_or_default()),
        _ => {}
    }
}

fn latencies(turn: &Value) -> String {
    let parts = [
        "endpointing_ms",
        "stt_ms",
        "first_token_ms",
        "first_sentence_ms",
        "first_audio_ms",
        "caller_gap_ms",
    ];
    let known = parts
        .iter()
        .filter_map(|part| Some(format!("{} {}", part.trim_end_matches("_ms"), turn[part].as_u64()?)));
    let known: Vec<String> = known.collect();
    format!("{} (ms)", known.join(", "))
}
