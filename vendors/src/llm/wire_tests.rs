use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::http::{Class, LineSplitter};
use crate::llm::anthropic::Anthropic;
use crate::llm::gemini::Gemini;
use crate::llm::openai::OpenAi;
use crate::llm::vendor_a::VendorA;
use crate::llm::vendor_b::VendorB;

const WHOLE_A: &str = r#"{"id":"g","text":"a","calls":[{"id":"c","tool":"t","input":{}}],"usage":{"input_tokens":1,"output_tokens":2}}"#;
const STREAM_A: &str = "event: start\ndata: {}\n\nevent: text\ndata: {\"text\":\"\\u00e9\"}\n\nevent: call\ndata: {\"id\":\"c\",\"tool\":\"t\",\"input\":{}}\n\nevent: end\ndata: {\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}\n\n";
const WHOLE_B: &str = r#"{"result":{"message":{"content":[{"kind":"functionCall","callId":"c","functionName":"f","argumentsJson":"{}"}]}},"metering":{"promptTokens":1,"completionTokens":2}}"#;
const STREAM_B: &str = "{\"chunk\":{\"textDelta\":\"\\u00e9\"}}\n{\"chunk\":{\"functionCallDelta\":{\"position\":0,\"callId\":\"c\",\"functionName\":\"f\",\"argumentsPart\":\"{}\"}}}\n{\"final\":{\"metering\":{\"promptTokens\":1,\"completionTokens\":2}}}\n";
const WHOLE_OPENAI: &str = r#"{"choices":[{"message":{"content":"a","tool_calls":[{"id":"c","function":{"name":"t","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
const STREAM_OPENAI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\u00e9\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"t\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
const WHOLE_ANTHROPIC: &str = r#"{"content":[{"type":"text","text":"a"},{"type":"tool_use","id":"c","name":"t","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#;
const STREAM_ANTHROPIC: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"t\",\"input\":{}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {\"type\":\"message_stop\"}\n\n";
const WHOLE_GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"functionCall":{"name":"t","args":{}},"thoughtSignature":"s"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#;
const STREAM_GEMINI: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\\u00e9\"}]}}]}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"t\",\"args\":{}}}]},\"finishReason\":\"STOP\"}]}\r\n\r\n";

/// Whatever comes, a decoder answers; it need not answer well.
fn decode(wire: &dyn Wire, whole: &[u8], stream: &[u8]) -> bool {
    let answer = wire.decode(whole);
    wire.refusal(whole);
    answer.is_ok() && read(wire, stream).is_ok()
}

/// Reads a stream to its end, as an attempt does.
fn read(wire: &dyn Wire, stream: &[u8]) -> Result<Answer, VendorError> {
    let (mut lines, mut decoder, mut answer) =
        (LineSplitter::default(), wire.stream_decoder(), Answer::default());
    lines.push(stream);
    while let Some(line) = lines.next_line() {
        if decoder.line(line, &mut answer)? == Piece::End {
            return Ok(answer);
        }
    }
    for line in [lines.rest().unwrap_or_default(), b""] {
        if decoder.line(line, &mut answer)? == Piece::End {
            return Ok(answer);
        }
    }
    decoder.end(&mut answer)?;
    Ok(answer)
}

fn formats() -> [(Box<dyn Wire>, &'static str, &'static str); 5] {
    [
        (Box::new(VendorA), WHOLE_A, STREAM_A),
        (Box::new(VendorB), WHOLE_B, STREAM_B),
        (Box::new(OpenAi::at("http://127.0.0.1/v1")), WHOLE_OPENAI, STREAM_OPENAI),
        (Box::new(Anthropic), WHOLE_ANTHROPIC, STREAM_ANTHROPIC),
        (Box::new(Gemini), WHOLE_GEMINI, STREAM_GEMINI),
    ]
}

#[test]
fn mutilated_answers_never_panic() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    for (wire, whole, stream) in formats() {
        assert!(decode(&*wire, whole.as_bytes(), stream.as_bytes()), "unharmed: {whole}");
        for _ in 0..5_000 {
            let (mut whole, mut stream) = (whole.as_bytes().to_vec(), stream.as_bytes().to_vec());
            for bytes in [&mut whole, &mut stream] {
                for _ in 0..random.random_range(1..4) {
                    let at = random.random_range(0..bytes.len());
                    match random.random_range(0..3) {
                        0 => bytes[at] = random.random(),
                        1 => bytes.truncate(at + 1),
                        _ => {
                            let tail = bytes.split_off(at);
                            bytes.extend_from_slice(&tail[tail.len() / 2..]);
                            bytes.push(b'\n');
                        }
                    }
                }
            }
            decode(&*wire, &whole, &stream);
        }
    }
}

#[test]
fn a_web_page_is_garbage_whether_it_streams_or_not() {
    for (wire, ..) in formats() {
        for page in ["<!DOCTYPE html>\n<html>\n", "<html><body>: a data: b</body></html>"] {
            assert_eq!(wire.decode(page.as_bytes()).unwrap_err().code.as_str(), "garbage");
            assert_eq!(read(&*wire, page.as_bytes()).unwrap_err().code.as_str(), "garbage");
        }
    }
}

#[test]
fn a_stream_that_is_cut_off_is_dropped_and_not_taken_for_whole() {
    for (wire, _, stream) in formats() {
        let first_event = stream.split_inclusive("\n\n").next().unwrap_or_default();
        let first_line = stream.split_inclusive('\n').next().unwrap_or_default();
        for part in [first_event, first_line, ""].iter().filter(|part| part.len() < stream.len()) {
            assert_eq!(read(&*wire, part.as_bytes()).unwrap_err().code.as_str(), "dropped", "{part}");
        }
    }
}

#[test]
fn a_bare_json_object_is_no_answer() {
    for (wire, ..) in formats() {
        assert_eq!(wire.decode(b"{}").unwrap_err().code.as_str(), "garbage");
    }
}

#[test]
fn an_answer_without_words_fails_as_its_end_tells() {
    let check = |text: &str, cut| Answer { text: text.into(), cut, ..Answer::default() }.check();
    let code = |cut| check(" \n", cut).unwrap_err().code.as_str();
    assert_eq!(code(None), "empty_answer");
    assert_eq!(code(Some(Cut::Length)), "output_limit");
    assert_eq!(code(Some(Cut::Content)), "refused");
    for cut in [None, Some(Cut::Length), Some(Cut::Content)] {
        assert_eq!(check("Well", cut), Ok(()));
    }
}

#[test]
fn only_an_empty_answer_is_worth_another_try() {
    assert_eq!(VendorError::empty_answer().class, Class::Retry { after: None });
    for error in [VendorError::output_limit(), VendorError::refused()] {
        assert_eq!(error.class, Class::Reject, "{error}");
    }
}
