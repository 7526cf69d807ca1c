//! E-mail addresses and links.

use super::ids::{has_vowel, spelled};
use super::numbers::digits;
use super::tokens::{Here, Said};

/// Endings by which a bare name is known to be a site.
const ENDINGS: [&str; 19] = [
    "com", "org", "net", "io", "co", "dev", "ai", "edu", "gov", "app", "uk", "de", "eu", "us", "info", "me",
    "tv", "biz", "health",
];

/// "billing@tech-corp.com": "billing at tech dash corp dot com".
pub(super) fn email(here: &Here<'_>) -> Option<Said> {
    let (local, host) = here.core().split_once('@')?;
    let fits = !local.is_empty()
        && !host.contains('@')
        && host.contains('.')
        && local.chars().chain(host.chars()).all(|c| c.is_alphanumeric() || "._%+-'".contains(c));
    let said = fits.then(|| format!("{} at {}", parts(local), self::host(host)))?;
    Said::one(said)
}

/// "https://tech-corp.com/pay?id=1", "www.example.org", "example.com".
pub(super) fn link(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let schemeless = core
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https" | "ftp" | "ws" | "wss"));
    let address = schemeless.map_or(core, |(_, rest)| rest);
    let (host, path) = match address.find(['/', '?', '#']) {
        Some(at) => address.split_at(at),
        None => (address, ""),
    };
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let ending = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let labels = name.split('.').all(|label| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-') && !label.starts_with('-')
    });
    let is_site = labels
        && name.contains('.')
        && name.contains(char::is_alphabetic)
        && ENDINGS.contains(&ending.as_str());
    let fits = (schemeless.is_some() && !name.is_empty())
        || (is_site && ending != name)
        || (name.starts_with("www.") && labels);
    fits.then_some(())?;
    let mut said = self::host(name);
    if !port.is_empty() {
        said = format!("{said} colon {}", parts(port));
    }
    let path = path.trim_end_matches('/');
    Said::one(if path.is_empty() { said } else { format!("{said} {}", parts(path)) })
}

fn host(name: &str) -> String {
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.len() - 1;
    let said = labels.iter().enumerate().map(|(at, label)| match label.to_lowercase().as_str() {
        "www" => "W W W".to_owned(),
        ending
            if at == last
                && ending.len() == 2
                && ending.chars().all(char::is_alphabetic)
                && !matches!(ending, "co" | "me") =>
        {
            spelled(ending)
        }
        _ => parts(label),
    });
    said.collect::<Vec<_>>().join(" dot ")
}

/// Letters as words (or spelled when they are none), digits one by one, signs by their names.
fn parts(text: &str) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let class = |c: char| (c.is_ascii_digit(), c.is_alphabetic());
        let end = if first.is_alphanumeric() {
            rest.find(|c: char| class(c) != class(first)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (run, after) = rest.split_at(end);
        rest = after;
        said.push(match first {
            '0'..='9' => digits(run),
            '.' => "dot".to_owned(),
            '-' => "dash".to_owned(),
            '_' => "underscore".to_owned(),
            '+' => "plus".to_owned(),
            '/' => "slash".to_owned(),
            '?' => "question mark".to_owned(),
            '=' => "equals".to_owned(),
            '&' => "and".to_owned(),
            '#' => "hash".to_owned(),
            '%' => "percent".to_owned(),
            ':' => "colon".to_owned(),
            '@' => "at".to_owned(),
            '~' => "tilde".to_owned(),
            _ if has_vowel(run) || !run.is_ascii() => run.to_owned(),
            _ => spelled(run),
        });
    }
    said.join(" ")
}
