//! From what a tool answers to what a model is told.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

use super::{MAX_RESULT_BYTES, McpFailed};

/// Of what a server says went wrong.
const EXCERPT_CHARS: usize = 500;

/// The structured content where there is some, else the text; what is neither is named.
pub(super) fn result(answer: CallToolResult) -> Result<Value, McpFailed> {
    if answer.is_error == Some(true) {
        let said = excerpt(&text(&answer.content));
        let said = if said.is_empty() { "the tool failed".to_owned() } else { said };
        return Err(McpFailed::Tool(said));
    }
    let result = match answer.structured_content {
        Some(structured) if !structured.is_null() => structured,
        _ if answer.content.is_empty() => Value::Null,
        _ => Value::String(text(&answer.content)),
    };
    if result.to_string().len() > MAX_RESULT_BYTES {
        return Err(McpFailed::Tool(format!("the tool's result is larger than {MAX_RESULT_BYTES} bytes")));
    }
    Ok(result)
}

fn text(content: &[ContentBlock]) -> String {
    let said = content.iter().map(|block| match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => left_out("an image", Some(&image.mime_type)),
        ContentBlock::Audio(audio) => left_out("a sound", Some(&audio.mime_type)),
        ContentBlock::ResourceLink(link) => left_out("a link", link.mime_type.as_deref()),
        _ => left_out("a resource", None),
    });
    said.collect::<Vec<_>>().join("\n")
}

fn left_out(what: &str, kind: Option<&str>) -> String {
    match kind {
        Some(kind) => format!("[{what} ({}) is not passed on]", excerpt(kind)),
        None => format!("[{what} is not passed on]"),
    }
}

/// The beginning of a text in one line.
pub(super) fn excerpt(text: &str) -> String {
    let line = text.split(|character: char| character.is_whitespace() || character.is_control());
    let line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(EXCERPT_CHARS).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(answer: Value) -> Result<Value, String> {
        result(serde_json::from_value(answer).unwrap()).map_err(|failed| failed.to_string())
    }

    #[test]
    fn structured_content_comes_before_text_and_text_before_nothing() {
        let text = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(of(json!({"content": text})), Ok(json!("a\nb")));
        assert_eq!(of(json!({"content": text, "structuredContent": {"n": 1}})), Ok(json!({"n": 1})));
        assert_eq!(of(json!({"content": text, "structuredContent": null})), Ok(json!("a\nb")));
        assert_eq!(of(json!({"content": []})), Ok(json!(null)));
    }

    #[test]
    fn what_is_no_text_is_named_and_not_passed_on() {
        let content = json!([
            {"type": "text", "text": "see"},
            {"type": "image", "data": "QUJD", "mimeType": "image/png"},
            {"type": "audio", "data": "QUJD", "mimeType": "audio/wav"},
            {"type": "resource_link", "uri": "file:///secret", "name": "x"},
            {"type": "resource", "resource": {"uri": "file:///secret", "text": "QUJD"}}
        ]);
        let said = of(json!({ "content": content })).unwrap();
        assert_eq!(
            said,
            json!(
                "see\n[an image (image/png) is not passed on]\n[a sound (audio/wav) is not passed on]\n[a link is not passed on]\n[a resource is not passed on]"
            )
        );
    }

    #[test]
    fn a_tools_error_is_told_in_one_short_line() {
        let error = |text: &str| of(json!({"content": [{"type": "text", "text": text}], "isError": true}));
        assert_eq!(error("no such\r\n  order"), Err("no such order".to_owned()));
        assert_eq!(error(""), Err("the tool failed".to_owned()));
        let long = error(&"x".repeat(10_000)).unwrap_err();
        assert_eq!(long.chars().count(), EXCERPT_CHARS + 1);
    }

    #[test]
    fn a_result_that_would_fill_a_window_is_none() {
        let fits = "x".repeat(MAX_RESULT_BYTES - 2);
        let of_text = |text: &str| of(json!({"content": [{"type": "text", "text": text}]}));
        assert_eq!(of_text(&fits), Ok(json!(fits)));
        assert!(of_text(&format!("{fits}x")).unwrap_err().contains("larger than 65536 bytes"));
    }
}
