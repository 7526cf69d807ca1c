use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;

const PUBLIC: UrlPolicy = UrlPolicy { allow_private: false };
const ANY: UrlPolicy = UrlPolicy { allow_private: true };

#[test]
fn a_public_https_url_is_taken() {
    for url in [
        "https://example.com",
        "https://example.com:8443/a?b=c#d",
        "HTTPS://EXAMPLE.COM/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://b\u{fc}cher.example/",
        "https://localhost.example.com/",
        "https://127.0.0.1.example.com/",
    ] {
        assert!(checked(url, PUBLIC).is_ok(), "{url}");
    }
}

#[test]
fn what_is_no_https_url_is_refused_with_its_reason() {
    let long = format!("https://example.com/{}", "x".repeat(MAX_URL_BYTES));
    for (url, refused) in [
        ("", UrlRefused::Unreadable),
        ("example.com", UrlRefused::Unreadable),
        ("/path", UrlRefused::Unreadable),
        ("https://", UrlRefused::Unreadable),
        ("https://a b/", UrlRefused::Unreadable),
        (" https://example.com", UrlRefused::Unreadable),
        ("https://exa\nmple.com", UrlRefused::Unreadable),
        ("https://example.com:99999/", UrlRefused::Unreadable),
        ("https://[::1", UrlRefused::Unreadable),
        (&long, UrlRefused::TooLong),
        ("http://example.com", UrlRefused::NotHttps),
        ("ftp://example.com", UrlRefused::NotHttps),
        ("file:///etc/passwd", UrlRefused::NotHttps),
        ("gopher://example.com", UrlRefused::NotHttps),
        ("javascript:alert(1)", UrlRefused::NotHttps),
        ("data:text/plain,a", UrlRefused::NotHttps),
        ("https://user@example.com", UrlRefused::HasCredentials),
        ("https://user:secret@example.com", UrlRefused::HasCredentials),
        ("https://:secret@example.com", UrlRefused::HasCredentials),
        ("https://example.com@127.0.0.1/", UrlRefused::HasCredentials),
    ] {
        assert_eq!(checked(url, PUBLIC).err(), Some(refused), "{url}");
    }
}

/// Whatever notation an address is written in, it is the same address.
#[test]
fn an_address_inside_is_refused_however_it_is_written() {
    let hosts = "127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 0177.1 017700000001 127.0.0.1. 0 0.0.0.0 \
        %31%32%37.0.0.1 \u{ff11}\u{ff12}\u{ff17}.0.0.1 127\u{3002}0\u{3002}0\u{3002}1 \u{2460}27.0.0.1 10.1 167772161 \
        0xa9fea9fe 169.254.169.254 2852039166 0251.0376.0251.0376 192.168.1.1 0xc0.0xa8.1.1 172.16.0.1 100.64.0.1 \
        198.18.0.1 224.0.0.1 255.255.255.255 4294967295 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] \
        [::127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::] [2001::1] [fe80::1] [fc00::1] [fd00:ec2::254] [ff02::1] \
        localhost LOCALHOST localhost. a.localhost loc%61lhost \u{24db}ocalhost";
    for host in hosts.split_whitespace() {
        for url in [format!("https://{host}/"), format!("https://{host}:8443/path?q=1")] {
            assert_eq!(checked(&url, PUBLIC).err(), Some(UrlRefused::NotPublic), "{url}");
            assert!(checked(&url, ANY).is_ok(), "{url}");
            assert!(checked(&url.replace("https", "http"), ANY).is_ok(), "{url}");
        }
    }
}

#[test]
fn more_is_not_allowed_by_allowing_private_addresses() {
    for url in ["ftp://127.0.0.1", "file:///etc/passwd", "http://user@127.0.0.1", "127.0.0.1"] {
        assert!(checked(url, ANY).is_err(), "{url}");
    }
}

/// Answers what it was given, the last one for ever.
struct Told {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Told {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parsed = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(parsed).collect(), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Names for Told {
    fn addresses(&self, _name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[asked].clone();
        Box::pin(async move { Ok(answer) })
    }
}

/// An address of nobody's, in a block that IANA keeps: public, and never reached.
const NOBODYS: &str = "2d00::1";

async fn ask(policy: UrlPolicy, names: &Arc<Told>, url: &str) -> reqwest::Error {
    let names: Arc<dyn Names> = names.clone();
    let client = guarded_client(policy, &names, Duration::from_millis(500)).unwrap();
    client.get(checked(url, policy).unwrap()).send().await.unwrap_err()
}

#[tokio::test]
async fn a_name_that_leads_inside_is_never_connected_to() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://name.example:{}/", inside.local_addr().unwrap().port());
    for answer in [
        &["127.0.0.1"][..],
        &[NOBODYS, "127.0.0.1"],
        &["127.0.0.1", NOBODYS],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["8.8.8.8", "169.254.169.254"],
    ] {
        let error = ask(PUBLIC, &Told::new(&[answer]), &url).await;
        assert!(is_refused(&error), "{answer:?}: {error:?}");
    }
    let heard = tokio::time::timeout(Duration::from_millis(50), inside.accept()).await;
    assert!(heard.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_connected_to_as_it_was_found() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://rebound.example:{}/", inside.local_addr().unwrap().port());
    let names = Told::new(&[&[NOBODYS], &["127.0.0.1"]]);
    let error = ask(PUBLIC, &names, &url).await;
    assert!(!is_refused(&error) && error.is_connect(), "{error:?}");
    assert_eq!(names.asked(), 1);
    // The next connection looks again, and is refused.
    assert!(is_refused(&ask(PUBLIC, &names, &url).await));
    let heard = tokio::time::timeout(Duration::from_millis(50), inside.accept()).await;
    assert!(heard.is_err(), "somebody connected");
}

#[tokio::test]
async fn where_private_addresses_are_allowed_the_found_one_is_used() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://name.example:{}/", inside.local_addr().unwrap().port());
    let names = Told::new(&[&["127.0.0.1"]]);
    let (error, heard) = tokio::join!(ask(ANY, &names, &url), async {
        // Closed at once: that it was connected to is all that is asked.
        inside.accept().await.map(|_| ())
    });
    assert!(heard.is_ok() && !is_refused(&error), "{error:?}");
}
