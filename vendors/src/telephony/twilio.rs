//! `X-Twilio-Signature`: base64 of HMAC-SHA1, under the account's auth token, over the URL and the sorted parameters.
//!
//! The URL is the one that Twilio was given, so it is built from the installation's public origin and never from what
//! the request says of itself (`Host`).

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Where the signature stands.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";
/// The same in every repetition of a webhook.
pub const IDEMPOTENCY_HEADER: &str = "i-twilio-idempotency-token";
/// The query parameter with the SHA-256 of a body that is no form.
const BODY_DIGEST: &str = "bodySHA256";

/// A form as it was sent: names and values decoded, none trimmed, unknown and empty ones kept.
pub type Parameters = [(String, String)];

/// What Twilio sends along with a request to `url` that carries `parameters`.
pub fn signature(auth_token: &SecretString, url: &str, parameters: &Parameters) -> String {
    let mut mac = mac(auth_token);
    mac.update(url.as_bytes());
    // In the order of their bytes; of a pair that is repeated one counts.
    let sorted: BTreeSet<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Whether a form, or a request without a body (a WebSocket's upgrade, whose URL begins with `wss://`), was signed with
/// this token.
pub fn is_signed(
    auth_token: &SecretString,
    url: &str,
    parameters: &Parameters,
    sent_signature: &str,
) -> bool {
    // Every candidate is tried, however the one before it did.
    with_and_without_port(url).fold(false, |found, url| {
        let expected = signature(auth_token, &url, parameters);
        found | bool::from(expected.as_bytes().ct_eq(sent_signature.as_bytes()))
    })
}

/// Whether a request with another body than a form was signed: its URL names the body's digest, and is signed without
/// parameters.
pub fn is_signed_with_body(auth_token: &SecretString, url: &str, body: &[u8], sent_signature: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut digests = query.split('&').filter_map(|pair| pair.strip_prefix(BODY_DIGEST)?.strip_prefix('='));
    let (Some(sent_digest), None) = (digests.next(), digests.next()) else { return false };
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_of_body = digest.as_bytes().ct_eq(sent_digest.to_ascii_lowercase().as_bytes());
    bool::from(is_of_body) & is_signed(auth_token, url, &[], sent_signature)
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn mac(auth_token: &SecretString) -> Hmac<Sha1> {
    Hmac::new_from_slice(auth_token.expose_secret().as_bytes()).expect("HMAC takes keys of every length")
}

/// The URL as it is, and with its scheme's own port added or taken away: whoever configured it wrote it or did not.
fn with_and_without_port(url: &str) -> impl Iterator<Item = Cow<'_, str>> {
    std::iter::once(Cow::Borrowed(url)).chain(with_port_turned(url).map(Cow::Owned))
}

fn with_port_turned(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // A colon within brackets is a part of an IPv6 address.
    let has_port = host.rfind(':').is_some_and(|colon| !host[colon..].contains(']'));
    let turned = match authority.strip_suffix(port) {
        Some(bare) if has_port => bare.to_owned(),
        _ if has_port => return None,
        _ => format!("{authority}{port}"),
    };
    Some(format!("{scheme}://{turned}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> SecretString {
        SecretString::from("12345")
    }

    fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

    /// The example of Twilio's documentation.
    fn example() -> Vec<(String, String)> {
        form(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675310"),
            ("Digits", "1234"),
            ("From", "+14158675310"),
            ("To", "+18005551212"),
        ])
    }

    #[test]
    fn the_documented_example_has_the_documented_signature() {
        assert_eq!(signature(&token(), URL, &example()), "GvWf1cFY/Q7PnoempGyD5oXAezc=");
        assert!(is_signed(&token(), URL, &example(), "GvWf1cFY/Q7PnoempGyD5oXAezc="));
    }

    #[test]
    fn whatever_was_changed_on_the_way_is_noticed() {
        let (token, sent) = (token(), example());
        let good = signature(&token, URL, &sent);
        type Change = dyn Fn(&mut Vec<(String, String)>);
        let changed = |change: &Change| {
            let mut changed = sent.clone();
            change(&mut changed);
            changed
        };
        let forms = [
            changed(&|form| form[1].1 = "+14158675311".to_owned()),
            changed(&|form| form[1].1.push(' ')),
            changed(&|form| form[1].0 = "caller".to_owned()),
            changed(&|form| form.push(("Extra".to_owned(), "1".to_owned()))),
            changed(&|form| form.push(("CallSid".to_owned(), "CA2".to_owned()))),
            changed(&|form| drop(form.remove(2))),
            changed(&|form| form.clear()),
        ];
        for form in forms {
            assert!(!is_signed(&token, URL, &form, &good), "{form:?}");
        }
        for url in [
            "http://mycompany.com/myapp.php?foo=1&bar=2",
            "https://mycompany.com/myapp.php?foo=1&bar=3",
            "https://mycompany.com/myapp.php?bar=2&foo=1",
            "https://mycompany.com/myapp.php",
            "https://mycompany.com/MyApp.php?foo=1&bar=2",
            "https://other.com/myapp.php?foo=1&bar=2",
            "https://mycompany.com:8443/myapp.php?foo=1&bar=2",
        ] {
            assert!(!is_signed(&token, url, &sent, &good), "{url}");
        }
        for signature in ["", "GvWf1cFY/Q7PnoempGyD5oXAezc", "gvWf1cFY/Q7PnoempGyD5oXAezc=", " ", "é"] {
            assert!(!is_signed(&token, URL, &sent, signature), "{signature}");
        }
        assert!(!is_signed(&SecretString::from("12346"), URL, &sent, &good));
    }

    #[test]
    fn the_order_of_parameters_and_repeated_pairs_do_not_matter_and_empty_ones_do() {
        let good = signature(&token(), URL, &example());
        let mut reversed = example();
        reversed.reverse();
        reversed.extend(form(&[("To", "+18005551212")]));
        assert!(is_signed(&token(), URL, &reversed, &good));
        let with_empty: Vec<_> = example().into_iter().chain(form(&[("StirVerstat", "")])).collect();
        assert_ne!(signature(&token(), URL, &with_empty), good);
    }

    #[test]
    fn the_schemes_own_port_may_be_written_or_not() {
        for (written, bare) in [
            ("https://a.example:443/x?y=1", "https://a.example/x?y=1"),
            ("http://a.example:80", "http://a.example"),
            ("wss://a.example:443/ws", "wss://a.example/ws"),
            ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]/x"),
        ] {
            assert!(is_signed(&token(), bare, &[], &signature(&token(), written, &[])), "{written}");
            assert!(is_signed(&token(), written, &[], &signature(&token(), bare, &[])), "{bare}");
        }
        let other = signature(&token(), "https://a.example:8443/x", &[]);
        assert!(!is_signed(&token(), "https://a.example/x", &[], &other));
    }

    #[test]
    fn a_body_that_is_no_form_is_signed_by_its_digest() {
        let body = br#"{"a":1}"#;
        let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let url = format!("https://a.example/x?bodySHA256={digest}");
        let good = signature(&token(), &url, &[]);
        assert!(is_signed_with_body(&token(), &url, body, &good));
        assert!(!is_signed_with_body(&token(), &url, br#"{"a":2}"#, &good));
        let bare = "https://a.example/x";
        assert!(!is_signed_with_body(&token(), bare, body, &signature(&token(), bare, &[])));
        let twice = format!("{url}&bodySHA256={digest}");
        assert!(!is_signed_with_body(&token(), &twice, body, &signature(&token(), &twice, &[])));
    }
}
