//! The cost of the vendor layer alone: from the vendor's byte to the listener's word, and how many words a second.
//!
//! The vendor here writes on each token the time at which it is sent. It speaks OpenAI's format, as most vendors do.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vendors::llm::{
    AttemptObserver, AttemptReport, CallOptions, ChatMessage, ChatRequest, DeltaSink, LlmConfig, LlmEndpoint,
    LlmVendorConfig, LlmVendors, LlmWire, Target,
};

use crate::now;

const PROVIDER: &str = "stamping";
/// A model that writes fast, seen from us: a token every 2 ms.
const PACE: Duration = Duration::from_millis(2);
const PACED_TOKENS: u64 = 1_000;
const RUSHED_TOKENS: u64 = 200_000;
/// Tokens in one write of a vendor that is faster than we are.
const RUSHED_BURST: u64 = 16;

pub struct VendorLayer {
    /// Nanoseconds from before a token is written to the socket until the listener has it.
    pub latency: Histogram<u64>,
    pub tokens_per_second: f64,
}

pub async fn run() -> Result<VendorLayer> {
    let (tracker, started) = (TaskTracker::new(), Instant::now());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tracker.spawn(async move {
        for (tokens, burst, pace) in [(PACED_TOKENS, 1, Some(PACE)), (RUSHED_TOKENS, RUSHED_BURST, None)] {
            let (socket, _) = listener.accept().await?;
            serve(socket, started, tokens, burst, pace).await?;
        }
        anyhow::Ok(())
    });
    let mut config =
        LlmConfig { max_answer_bytes: usize::MAX, timeout: Duration::from_secs(120), ..Default::default() };
    config.vendors.push(LlmVendorConfig {
        provider: PROVIDER.to_owned(),
        wire: LlmWire::OpenAi,
        endpoints: vec![LlmEndpoint { base_url: format!("http://{address}"), api_key: "bench".into() }],
    });
    let vendors = LlmVendors::new(config, now)?;

    let mut latency = Histogram::new(3)?;
    listen(
        &vendors,
        PACED_TOKENS,
        |sent_at, heard_at| latency.record(heard_at.saturating_sub(sent_at)),
        started,
    )
    .await?;
    let rushed = Instant::now();
    listen(&vendors, RUSHED_TOKENS, |_, _| anyhow::Ok(()), started).await?;
    Ok(VendorLayer { latency, tokens_per_second: RUSHED_TOKENS as f64 / rushed.elapsed().as_secs_f64() })
}

/// One streamed reply; `heard` gets the times of each token, in nanoseconds after `started`.
async fn listen<E: Into<anyhow::Error>>(
    vendors: &LlmVendors,
    tokens: u64,
    mut heard: impl FnMut(u64, u64) -> Result<(), E>,
    started: Instant,
) -> Result<()> {
    let chain = [Target { provider: PROVIDER.to_owned(), model: "stamps".to_owned() }];
    let request = ChatRequest {
        model: String::new(),
        system: String::new(),
        messages: vec![ChatMessage::User { content: "What time is it?".to_owned() }],
        tools: vec![],
        max_output_tokens: None,
    };
    let (sink, mut deltas) = DeltaSink::channel(64);
    let cancel = CancellationToken::new();
    let complete = async {
        let completed =
            vendors.complete(&chain, &request, Some(&sink), CallOptions::default(), &mut Deaf, &cancel).await;
        drop(sink);
        completed.map_err(|failed| anyhow!(failed.detail))
    };
    let hear = async {
        let mut count = 0;
        while let Some(delta) = deltas.recv().await {
            let at = nanos(started);
            for stamp in delta.text.split_whitespace() {
                heard(stamp.parse().context("a token without a time")?, at).map_err(Into::into)?;
                count += 1;
            }
        }
        anyhow::Ok(count)
    };
    let (completed, count) = tokio::join!(complete, hear);
    completed?;
    ensure!(count? == tokens, "tokens were lost");
    Ok(())
}

/// Answers one request with `tokens` tokens, `burst` of them in each write.
async fn serve(
    socket: TcpStream,
    started: Instant,
    tokens: u64,
    burst: u64,
    pace: Option<Duration>,
) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    socket.read_exact(&mut vec![0; length]).await?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let mut ticks = pace.map(tokio::time::interval);
    for _ in 0..tokens / burst {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let mut bytes = String::new();
        for _ in 0..burst {
            let stamp = nanos(started);
            bytes.push_str(&format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{stamp} \"}},\"finish_reason\":null}}]}}\n\n"
            ));
        }
        socket.write_all(bytes.as_bytes()).await?;
    }
    let end =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    socket.write_all(end.as_bytes()).await?;
    socket.shutdown().await?;
    Ok(())
}

fn nanos(started: Instant) -> u64 {
    started.elapsed().as_nanos() as u64
}

struct Deaf;

impl AttemptObserver for Deaf {
    async fn attempted(&mut self, _: AttemptReport) {}
}
