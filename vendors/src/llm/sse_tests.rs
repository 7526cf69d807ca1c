use super::*;
use crate::http::LineSplitter;

/// Writes down what it is told.
#[derive(Default)]
struct Recorder(Vec<(String, String)>);

impl Events for Recorder {
    fn event(&mut self, name: &str, data: &[u8], _answer: &mut Answer) -> Result<Piece, VendorError> {
        self.0.push((name.to_owned(), String::from_utf8_lossy(data).into_owned()));
        Ok(Piece::Nothing)
    }
}

fn events(stream: &str) -> Result<Vec<(String, String)>, VendorError> {
    let (mut reader, mut answer) = (ServerSentEvents::<Recorder>::default(), Answer::default());
    let mut lines = LineSplitter::default();
    lines.push(stream.as_bytes());
    while let Some(line) = lines.next_line() {
        reader.line(line, &mut answer)?;
    }
    if let Some(line) = lines.rest() {
        reader.line(line, &mut answer)?;
    }
    reader.line(b"", &mut answer)?;
    Ok(reader.events.0)
}

fn named(name: &str, data: &str) -> (String, String) {
    (name.to_owned(), data.to_owned())
}

#[test]
fn names_data_and_comments_are_told_apart() {
    let stream = ": keep-alive\n\nevent: text\ndata: a\nid: 7\nretry: 10\n\ndata:b\n\n";
    assert_eq!(events(stream).unwrap(), [named("text", "a"), named("", "b")]);
}

#[test]
fn data_on_several_lines_is_joined() {
    assert_eq!(events("data: {\ndata: }\n\n").unwrap(), [named("", "{\n}")]);
}

#[test]
fn carriage_returns_and_a_byte_order_mark_make_no_difference() {
    assert_eq!(events("\u{feff}data: a\r\n\r\ndata: b\r\n\r\n").unwrap(), [named("", "a"), named("", "b")]);
}

#[test]
fn the_last_event_may_lack_its_blank_line() {
    for stream in ["data: a", "data: a\n", "data: a\r\n", "data: a\n\n"] {
        assert_eq!(events(stream).unwrap(), [named("", "a")], "{stream:?}");
    }
}

#[test]
fn an_event_without_data_is_none() {
    assert_eq!(events("event: ping\n\ndata:\n\ndata: a\n\n").unwrap(), [named("", "a")]);
}

#[test]
fn what_is_no_event_is_garbage() {
    for stream in ["<!DOCTYPE html>\n<html>", "{\"choices\": []}\n", "\u{feff}<html>\n"] {
        assert_eq!(events(stream).unwrap_err().code.as_str(), "garbage", "{stream:?}");
    }
}
