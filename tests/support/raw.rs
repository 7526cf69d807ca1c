//! Requests that no HTTP library would send: bytes over a socket.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Client;
use crate::client::Answer;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a request with this line, the client's key and `headers`, and reads the answer to the connection's end.
pub async fn send(client: &Client, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request =
        format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-API-Key: {}\r\n", client.key());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    send_bytes(client, &[request.as_bytes(), body].concat()).await
}

/// The same with nothing added.
pub async fn send_bytes(client: &Client, request: &[u8]) -> Answer {
    let url = client.url("");
    let mut socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut reader, mut writer) = socket.split();
    let mut answer = Vec::new();
    let exchange = async {
        // A server that has heard enough stops reading: what counts is what it answers.
        let (_, read) = tokio::join!(writer.write_all(request), reader.read_to_end(&mut answer));
        read
    };
    let read = tokio::time::timeout(PATIENCE, exchange).await;
    let read =
        read.unwrap_or_else(|_| panic!("no end of the answer to {:.200?}", String::from_utf8_lossy(request)));
    parse(&answer)
        .unwrap_or_else(|| panic!("no answer to read: {read:?}, {:?}", String::from_utf8_lossy(&answer)))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse::<u16>().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    let body = &answer[end + 4..];
    let body = serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
    Some(Answer { status: StatusCode::from_u16(status).ok()?, headers, body })
}
