use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use tokio::time::sleep;

use super::*;
use crate::http::ErrorCode;
use crate::llm::Delta;
use crate::llm::gemini::Gemini;
use crate::llm::openai::OpenAi;

const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const THOUGHT: &str = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
const COMMENT: &str = ": keep-alive\n\n";
const DONE: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn vendor(wire: Box<dyn Wire>, base_url: &str) -> Vendor {
    Vendor::new(wire, base_url, &"key".to_owned().into()).unwrap()
}

/// Pieces of a body, each after a pause of the virtual clock.
fn pieces(pieces: Vec<(u64, &'static str)>) -> impl Stream<Item = &'static str> + Send {
    stream::iter(pieces).then(async |(seconds, piece)| {
        sleep(Duration::from_secs(seconds)).await;
        piece
    })
}

/// Reads a stream with 8 s for the first token and 5 s between two; how it went, and when it was over.
async fn read(
    body: impl Stream<Item = &'static str> + Send + 'static,
) -> (Result<(), VendorError>, Progress, Duration) {
    let (result, progress, elapsed, _) = read_beside(&Floor::default(), body).await;
    (result, progress, elapsed)
}

/// The same as attempt 1 of several for one reply, and what it was heard to say.
async fn read_beside(
    floor: &Floor,
    body: impl Stream<Item = &'static str> + Send + 'static,
) -> (Result<(), VendorError>, Progress, Duration, Option<Delta>) {
    let vendor = vendor(Box::new(OpenAi::at("http://127.0.0.1/v1")), "http://127.0.0.1/v1");
    let request = ChatRequest {
        model: String::new(),
        system: String::new(),
        messages: vec![],
        tools: vec![],
        max_output_tokens: None,
    };
    let attempt = Attempt {
        id: Uuid::nil(),
        number: 1,
        vendor: &vendor,
        model: "m",
        request: &request,
        deltas: None,
        floor,
        max_answer_bytes: 1024 * 1024,
        first_token_timeout: Duration::from_secs(8),
        stall_timeout: Duration::from_secs(5),
        now: DateTime::UNIX_EPOCH,
    };
    let body = reqwest::Body::wrap_stream(body.map(Ok::<_, std::io::Error>));
    let mut body = Body::new(http::Response::new(body).into(), attempt.max_answer_bytes);
    let (deltas, mut reader) = DeltaSink::channel(100);
    let (started, mut progress) = (Instant::now(), Progress::default());
    let result = attempt.read_stream(&mut body, &deltas, Patience::new(&attempt), &mut progress).await;
    (result, progress, started.elapsed(), reader.try_recv().ok())
}

#[tokio::test(start_paused = true)]
async fn a_steady_stream_may_take_its_time() {
    let (result, progress, elapsed) = read(pieces(vec![(7, TEXT), (4, TEXT), (4, TEXT), (4, DONE)])).await;
    assert_eq!((result, progress.answer.text.as_str()), (Ok(()), "aaa"));
    assert_eq!((progress.first_token, elapsed), (Some(Duration::from_secs(7)), Duration::from_secs(19)));
}

#[tokio::test(start_paused = true)]
async fn comments_and_thoughts_do_not_pass_for_a_first_token() {
    let queued = stream::repeat([COMMENT, THOUGHT]).flat_map(stream::iter);
    let queued = queued.then(async |piece| {
        sleep(Duration::from_secs(1)).await;
        piece
    });
    let (result, progress, elapsed) = read(queued).await;
    assert_eq!(result, Err(VendorError::no_first_token(Duration::from_secs(8))));
    assert_eq!((progress.first_token, elapsed), (None, Duration::from_secs(8)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stands_still_is_given_up() {
    let drip = pieces(vec![(1, TEXT), (3, COMMENT), (3, TEXT)]);
    let (result, progress, elapsed) = read(drip).await;
    assert_eq!(result, Err(VendorError::stalled(Duration::from_secs(5))));
    assert_eq!((progress.answer.text.as_str(), elapsed), ("a", Duration::from_secs(6)));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_never_comes_is_given_up() {
    let (result, ..) = read(pieces(vec![(0, TEXT)]).chain(stream::pending())).await;
    assert_eq!(result.unwrap_err().code, ErrorCode::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_last_event_without_its_line_end_still_counts() {
    let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}";
    let (result, progress, _) = read(pieces(vec![(0, TEXT), (0, cut)])).await;
    assert_eq!((result, progress.answer.text.as_str()), (Ok(()), "ab"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_late_is_not_heard_and_what_it_said_is_known() {
    let floor = Floor::default();
    assert!(floor.take(2));
    let (result, progress, _, heard) = read_beside(&floor, pieces(vec![(0, TEXT), (0, DONE)])).await;
    assert_eq!((result.unwrap_err().code, heard), (ErrorCode::Cancelled, None));
    assert_eq!((progress.answer.text.as_str(), progress.whole), ("a", false));
    assert_eq!(progress.first_token, Some(Duration::ZERO));
}

#[test]
fn a_models_name_stays_in_its_segment_of_the_path() {
    let vendor = vendor(Box::new(Gemini), "https://generativelanguage.googleapis.com/");
    let plain = |model| vendor.plain.url(model).to_string();
    let base = "https://generativelanguage.googleapis.com/v1beta/models";
    assert_eq!(plain("gemini-3-flash"), format!("{base}/gemini-3-flash:generateContent"));
    assert_eq!(plain("../../x?key=#"), format!("{base}/..%2F..%2Fx%3Fkey=%23:generateContent"));
    assert_eq!(plain(".."), format!("{base}/..:generateContent"));
    assert_eq!(plain("%2e%2e\\é \n"), format!("{base}/%252e%252e%5C%C3%A9%20:generateContent"));
    let streaming = vendor.streaming.url("gemini-3-flash").to_string();
    assert_eq!(streaming, format!("{base}/gemini-3-flash:streamGenerateContent?alt=sse"));
}

#[test]
fn a_base_url_keeps_its_own_path() {
    for base in ["https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/"] {
        let vendor = vendor(Box::new(OpenAi::at(base)), base);
        assert_eq!(vendor.plain.url("m").as_str(), "https://api.groq.com/openai/v1/chat/completions");
    }
    let no_place = Vendor::new(Box::new(Gemini), "mailto:somebody", &"key".to_owned().into());
    assert!(no_place.is_err_and(|error| error.code == ErrorCode::Misconfigured));
}
