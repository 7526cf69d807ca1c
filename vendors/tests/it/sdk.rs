//! The vendors' own SDKs for Python, of the versions in `tests/sdk/requirements.txt`, understand the simulators, and the
//! libraries of webhooks' receivers understand us.

use std::path::Path;

use secrecy::SecretString;
use serde_json::{Value, json};
use vendors::telephony::twilio;

use crate::python::Python;
use crate::support::*;

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");

/// What a script prints that judges us with the SDKs.
pub async fn check(script: &str, arguments: &[&str], input: &str) -> String {
    let folder = Path::new(SDK);
    let python = Python::with(&folder.join("requirements.txt")).await;
    python.run(&folder.join(script), arguments, input).await
}

#[tokio::test]
async fn the_vendors_own_sdks_understand_the_simulators() {
    let simulator = Simulator::start().await;
    let address = format!("http://{}", simulator.address);
    let printed = check("check_simulators.py", &[&address], "").await;
    for vendor in ["openai", "groq", "deepseek", "anthropic", "google"] {
        let checks = printed.lines().filter(|line| line.starts_with(&format!("ok {vendor}: "))).count();
        assert_eq!(checks, 8, "{vendor}: {printed}");
    }
}

/// One request as Twilio would sign it.
fn case(token: &str, url: &str, parameters: &[(&str, &str)], signature: &str, valid: bool) -> Value {
    json!({ "token": token, "url": url, "parameters": parameters, "signature": signature, "valid": valid })
}

#[tokio::test]
async fn twilios_own_validator_and_ours_agree() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const URL: &str = "https://voice.example.com/api/twilio/incoming?returns=1";
    const FORM: &[(&str, &str)] = &[
        ("To", "+14155550100"),
        ("From", "+14155559999"),
        ("CallSid", "CA0123456789abcdef"),
        ("CallerName", "Zoë & Söhne  "),
        ("CallerCity", ""),
        ("a", "lower"),
        ("Digits", "2"),
        ("Digits", "1"),
        ("Digits", "2"),
    ];
    let owned = |form: &[(&str, &str)]| -> Vec<(String, String)> {
        form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let token = SecretString::from(TOKEN);
    let sign = |url: &str, form: &[(&str, &str)]| twilio::signature(&token, url, &owned(form));
    let good = sign(URL, FORM);
    let changed: Vec<Vec<(&str, &str)>> = (0..FORM.len())
        .map(|at| {
            let mut form = FORM.to_vec();
            form[at].1 = "changed";
            form
        })
        .chain([FORM[1..].to_vec(), [FORM, &[("Extra", "")]].concat()])
        .collect();
    let bare = "https://voice.example.com/x";
    let mut cases = vec![
        case(TOKEN, URL, FORM, &good, true),
        case(TOKEN, bare, &[], &sign("https://voice.example.com:443/x", &[]), true),
        case(TOKEN, "https://voice.example.com:443/x", &[], &sign(bare, &[]), true),
        case(
            TOKEN,
            "wss://voice.example.com/ws/voice-twilio",
            &[],
            &sign("wss://voice.example.com/ws/voice-twilio", &[]),
            true,
        ),
        case("another token", URL, FORM, &good, false),
        case(TOKEN, "https://voice.example.com/api/twilio/incoming?returns=2", FORM, &good, false),
        case(TOKEN, "http://voice.example.com/api/twilio/incoming?returns=1", FORM, &good, false),
        case(TOKEN, URL, FORM, "", false),
        case(TOKEN, URL, FORM, &good.to_lowercase(), false),
    ];
    cases.extend(changed.iter().map(|form| case(TOKEN, URL, form, &good, false)));
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();

    let theirs = check("check_twilio.py", &[], &lines).await;
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(theirs.len(), cases.len());
    // What we think of every case, and of the signature that Twilio itself makes of it.
    for (case, theirs) in cases.iter().zip(theirs) {
        let parameters: Vec<(String, String)> = serde_json::from_value(case["parameters"].clone()).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let token = SecretString::from(text("token"));
        let ours = twilio::is_signed(&token, text("url"), &parameters, text("signature"));
        assert_eq!(ours, case["valid"].as_bool().unwrap(), "{case}");
        assert!(twilio::is_signed(&token, text("url"), &parameters, theirs), "{case}");
    }
}
