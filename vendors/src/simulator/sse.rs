//! Server-sent events, as the simulated vendors write them.

use bytes::Bytes;
use serde::Serialize;

use super::format::write_json;

/// An event with a name.
pub(super) fn event(name: &str, data: &impl Serialize) -> Bytes {
    write(&format!("event: {name}\ndata: "), data)
}

/// An event without one.
pub(super) fn data(data: &impl Serialize) -> Bytes {
    write("data: ", data)
}

fn write(before: &str, data: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(before.as_bytes());
    write_json(&mut bytes, data);
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}

/// A text in three parts, for vendors that stream the arguments of tool calls in pieces; short texts have empty
/// parts.
pub(super) fn thirds(text: &str) -> [&str; 3] {
    let first = text.floor_char_boundary(text.len() / 3);
    let second = text.floor_char_boundary(text.len() * 2 / 3);
    [&text[..first], &text[first..second], &text[second..]]
}

#[cfg(test)]
mod tests {
    use super::thirds;

    #[test]
    fn the_parts_of_a_text_are_the_text() {
        for text in ["", "a", "ab", "€€€€", "{\"invoice_id\":\"INV-TC-001\"}"] {
            assert_eq!(thirds(text).concat(), text);
        }
    }
}
