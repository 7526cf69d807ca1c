//! Recordings of calls, as they are listened to. The test writes them as the media worker does.

use std::f64::consts::TAU;
use std::io::Cursor;
use std::ops::Range;

use cli::system::System;
use events::call::CallAudio;
use reqwest::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use reqwest::{Method, StatusCode};
use tests::calls::{NOBODY_TALKS, ToldCall};
use tests::{Client, World};
use voice::containers::{Limits, decode};
use voice::frames::FrameFormat;
use voice::g711;
use voice::recording::{SEGMENT_FRAMES, Side, StereoWriter};

const HEADER_BYTES: usize = 44;
/// Bytes of a segment of 8 kHz in the WAV file.
const SEGMENT_BYTES: usize = SEGMENT_FRAMES as usize * 4 * 160;

async fn world() -> (World, Client) {
    let world = World::services().await;
    let client = world.run(NOBODY_TALKS.parse().unwrap()).await;
    (world, client)
}

async fn told<'a>(world: &World, system: &'a System) -> ToldCall<'a> {
    let tenant = world.tenant(0);
    ToldCall::start(system, tenant.id, tenant.agents[0].id).await
}

fn path(call: &ToldCall<'_>) -> String {
    format!("/api/calls/{}/recording", call.call_id)
}

/// A sound of one side: each its own, and quiet enough to be added.
fn sound(side: Side, seconds: f64) -> f64 {
    let hz = if side == Side::Caller { 300.0 } else { 700.0 };
    9_000.0 * (TAU * hz * seconds).sin()
}

/// Frame number `number` of one side.
fn frame(format: FrameFormat, side: Side, number: u32) -> Vec<u8> {
    let rate_hz = format.sample_rate_hz();
    let samples = number * rate_hz / 50..(number + 1) * rate_hz / 50;
    let samples: Vec<i16> =
        samples.map(|at| sound(side, f64::from(at) / f64::from(rate_hz)) as i16).collect();
    match format {
        FrameFormat::Pcm16k => samples.into_iter().flat_map(i16::to_le_bytes).collect(),
        FrameFormat::Mulaw8k => {
            let mut bytes = Vec::new();
            g711::pcm_to_mulaw(&samples, &mut bytes);
            bytes
        }
    }
}

/// Writes the recording in which each side speaks in its frames, without the segment `lost`.
async fn record(
    call: &ToldCall<'_>,
    format: FrameFormat,
    (caller, agent): (Range<u32>, Range<u32>),
    lost: Option<u32>,
) {
    let audio = if format == FrameFormat::Pcm16k { CallAudio::Pcm16k } else { CallAudio::Mulaw8k };
    let (mut writer, mut segments) = (StereoWriter::new(format), Vec::new());
    for number in 0..caller.end.max(agent.end) {
        for (side, frames) in [(Side::Caller, &caller), (Side::Agent, &agent)] {
            if frames.contains(&number) {
                let data = frame(format, side, number);
                writer.push(side, number, data, |segment| segments.push(segment));
            }
        }
    }
    writer.finish(|segment| segments.push(segment));
    for segment in segments.into_iter().filter(|segment| Some(segment.index) != lost) {
        call.record(audio, segment.index, &segment.data).await;
    }
}

struct Fetched {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Fetched {
    fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn fetch(client: &Client, path: &str, sent: &[(HeaderName, &str)]) -> Fetched {
    let request = client.request(Method::GET, path);
    let request = sent.iter().fold(request, |request, (name, value)| request.header(name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Fetched { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
}

/// Left and right, as somebody else's reader has them.
fn heard(wav: &[u8], rate_hz: u32) -> (Vec<i16>, Vec<i16>) {
    let reader = hound::WavReader::new(Cursor::new(wav)).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, rate_hz, 16));
    let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
    samples.chunks_exact(2).map(|set| (set[0], set[1])).unzip()
}

/// How far the sound of a side is from what it was, at most.
fn furthest(heard: &[i16], side: Side, rate_hz: u32) -> f64 {
    let said = |at: usize| sound(side, at as f64 / f64::from(rate_hz));
    heard.iter().enumerate().map(|(at, sample)| (f64::from(*sample) - said(at)).abs()).fold(0.0, f64::max)
}

#[tokio::test]
async fn the_caller_is_on_the_left_and_the_agent_on_the_right() {
    let (world, client) = world().await;
    let system = world.connect().await;
    // Rounded to a whole number; µ-law has steps of 256 at this loudness.
    for (format, most) in [(FrameFormat::Pcm16k, 1.0), (FrameFormat::Mulaw8k, 256.0)] {
        let call = told(&world, &system).await;
        record(&call, format, (0..250, 0..250), None).await;
        call.hang_up(5_000, None).await;
        let fetched = fetch(&client, &path(&call), &[]).await;
        assert_eq!((fetched.status, fetched.header(CONTENT_TYPE)), (StatusCode::OK, "audio/wav"));
        assert_eq!(fetched.header(CONTENT_LENGTH), fetched.bytes.len().to_string());
        assert_eq!(fetched.header(ACCEPT_RANGES), "bytes");
        let rate_hz = format.sample_rate_hz();
        let (left, right) = heard(&fetched.bytes, rate_hz);
        assert_eq!((left.len(), right.len()), (5 * rate_hz as usize, 5 * rate_hz as usize));
        assert!(furthest(&left, Side::Caller, rate_hz) <= most, "{format:?}");
        assert!(furthest(&right, Side::Agent, rate_hz) <= most, "{format:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn any_range_is_a_part_of_the_whole_and_what_was_lost_is_silence() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let (call, other) = (told(&world, &system).await, told(&world, &system).await);
    record(&other, FrameFormat::Mulaw8k, (0..1_000, 0..0), None).await;
    // 40 segments, more than two pages, between those of another call.
    record(&call, FrameFormat::Mulaw8k, (0..3_970, 0..3_970), Some(30)).await;
    record(&other, FrameFormat::Mulaw8k, (1_000..2_000, 0..0), None).await;
    call.hang_up(79_400, None).await;
    let path = path(&call);
    let whole = fetch(&client, &path, &[]).await;
    let length = whole.bytes.len();
    assert_eq!(length, HEADER_BYTES + 3_970 * 640);

    let (left, _) = heard(&whole.bytes, 8_000);
    let silence: Vec<usize> =
        (0..40).filter(|index| left[index * 16_000..][..10].iter().all(|s| *s == 0)).collect();
    assert_eq!(silence, [30]);

    let second = HEADER_BYTES + SEGMENT_BYTES;
    for (range, expected) in [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=0-43".to_owned(), 0..44),
        ("bytes=40-47".to_owned(), 40..48),
        (format!("bytes={}-{}", second - 3, second + 5), second - 3..second + 6),
        (
            format!("bytes={}-{}", HEADER_BYTES + 29 * SEGMENT_BYTES + 1, HEADER_BYTES + 33 * SEGMENT_BYTES),
            HEADER_BYTES + 29 * SEGMENT_BYTES + 1..HEADER_BYTES + 33 * SEGMENT_BYTES + 1,
        ),
        (format!("bytes={}-", length - 100_001), length - 100_001..length),
        ("bytes=-7".to_owned(), length - 7..length),
        (format!("bytes=2000000-{}", u64::MAX), 2_000_000..length),
    ] {
        let part = fetch(&client, &path, &[(RANGE, &range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        let place = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
        assert_eq!(part.header(CONTENT_RANGE), place, "{range}");
        assert_eq!(part.header(CONTENT_LENGTH), expected.len().to_string());
        assert_eq!(part.header(ETAG), whole.header(ETAG));
        assert!(part.bytes == whole.bytes[expected], "{range}");
    }
    let beyond = [(RANGE, format!("bytes={length}-"))];
    let request = client.request(Method::GET, &path).header(RANGE, &beyond[0].1);
    let refused = client.send(request).await.unwrap();
    refused.assert_problem(416, "range_not_satisfiable", &beyond[0].1);
    assert_eq!(refused.header("content-range"), format!("bytes */{length}"));
    for sent in [
        vec![(RANGE, "bytes=0-1,5-6")],
        vec![(RANGE, "lines=1-2")],
        vec![(RANGE, "bytes=0-9"), (IF_RANGE, "\"another\"")],
    ] {
        let fetched = fetch(&client, &path, &sent).await;
        assert_eq!(fetched.status, StatusCode::OK, "{sent:?}");
        assert!(fetched.bytes == whole.bytes, "{sent:?}");
    }
    let same = [(RANGE, "bytes=0-9"), (IF_RANGE, whole.header(ETAG))];
    assert_eq!(fetch(&client, &path, &same).await.bytes, whole.bytes[..10]);
    let known = fetch(&client, &path, &[(IF_NONE_MATCH, whole.header(ETAG))]).await;
    assert_eq!((known.status, known.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let head = client.request(Method::HEAD, &path).header(RANGE, "bytes=0-9").send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()[CONTENT_LENGTH]),
        (StatusCode::OK, &whole.headers[CONTENT_LENGTH])
    );
    assert_eq!(head.headers()[ETAG], whole.headers[ETAG]);
    assert_eq!(head.bytes().await.unwrap().len(), 0);
    world.stop().await;
}

/// How loud a stretch of sound is.
fn loudness(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / samples.len() as f64).sqrt()
}

#[tokio::test]
async fn who_would_rather_have_mp3_hears_both_in_one_channel() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let mut tags = Vec::new();
    for format in [FrameFormat::Pcm16k, FrameFormat::Mulaw8k] {
        let call = told(&world, &system).await;
        // First the caller alone, then nobody, then the agent alone.
        record(&call, format, (0..150, 250..420), None).await;
        call.hang_up(8_400, None).await;
        let accept = [(ACCEPT, "audio/mpeg"), (RANGE, "bytes=0-99")];
        let fetched = fetch(&client, &path(&call), &accept).await;
        assert_eq!((fetched.status, fetched.header(CONTENT_TYPE)), (StatusCode::OK, "audio/mpeg"));
        assert_eq!((fetched.header(ACCEPT_RANGES), fetched.header(CONTENT_LENGTH)), ("none", ""));
        let wav = fetch(&client, &path(&call), &[]).await;
        assert!(fetched.bytes.len() * 5 < wav.bytes.len());
        let mut samples = Vec::new();
        let limits = Limits { bytes: fetched.bytes.len(), seconds: 60 };
        decode(&fetched.bytes, limits, |more| samples.extend_from_slice(more)).unwrap();
        let seconds = samples.len() as f64 / 16_000.0;
        assert!((8.4..8.7).contains(&seconds), "{format:?}: {seconds} s");
        let during =
            |from: f64, to: f64| loudness(&samples[(from * 16_000.0) as usize..(to * 16_000.0) as usize]);
        let alone = 9_000.0 / 2.0_f64.sqrt();
        for spoken in [during(0.5, 2.8), during(5.5, 8.2)] {
            assert!((spoken / alone - 1.0).abs() < 0.1, "{format:?}: {spoken:.0} instead of {alone:.0}");
        }
        assert!(during(3.5, 4.5) < 50.0, "{format:?}");
        let known = [(ACCEPT, "audio/mpeg"), (IF_NONE_MATCH, fetched.header(ETAG))];
        assert_eq!(fetch(&client, &path(&call), &known).await.status, StatusCode::NOT_MODIFIED);
        tags.extend([fetched.header(ETAG).to_owned(), wav.header(ETAG).to_owned()]);
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 4, "every call and kind has its own");
    world.stop().await;
}

#[tokio::test]
async fn where_there_is_nothing_to_listen_to_the_client_is_told_why() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let (call, silent) = (told(&world, &system).await, told(&world, &system).await);
    let path = path(&call);
    record(&call, FrameFormat::Mulaw8k, (0..50, 0..50), None).await;
    client.get(&path).await.assert_problem(409, "call_active", "a call under way");
    call.hang_up(1_000, None).await;
    silent.hang_up(0, None).await;
    let nothing = client.get(&self::path(&silent)).await;
    nothing.assert_problem(404, "recording_not_found", "nobody was connected");

    let stranger = client.with_key(&world.tenant(1).api_key);
    stranger.get(&path).await.assert_problem(404, "not_found", "another tenant's");
    let viewer = client.with_role("viewer").await;
    assert_eq!(fetch(&viewer, &path, &[]).await.status, StatusCode::OK);

    assert!(system.keyring.erase_customer(world.tenant(0).id, "caller-1").await.unwrap());
    // This process never held the key.
    let client = world.run(NOBODY_TALKS.parse().unwrap()).await;
    for accept in ["*/*", "audio/mpeg"] {
        let request = client.request(Method::GET, &path).header(ACCEPT, accept);
        let erased = client.send(request).await.unwrap();
        erased.assert_problem(410, "recording_erased", accept);
    }
    let deleted = client.request(Method::DELETE, &format!("/api/calls/{}", call.call_id));
    assert_eq!(client.send(deleted).await.unwrap().status, StatusCode::OK);
    client.get(&path).await.assert_problem(404, "not_found", "a deleted call");
    world.stop().await;
}
