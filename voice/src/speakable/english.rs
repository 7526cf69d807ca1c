//! What English speakers say for what is written.

use super::addresses::{email, link};
use super::ids::{acronym, id, roman};
use super::measures::{measure, number, part, range, rank};
use super::money::{magnified, money};
use super::numbers::{Number, digits};
use super::phone::phone;
use super::short_forms::short_form;
use super::times::{date, lone_year, time};
use super::tokens::{Here, Said, tokens};

/// What a token may be, most certain first: the first that knows it says it.
const SAYINGS: [fn(&Here<'_>) -> Option<Said>; 18] = [
    email, link, money, part, lone_year, date, time, measure, magnified, range, rank, phone, short_form, id,
    number, roman, acronym, word,
];

pub(super) fn say(text: &str) -> String {
    let text = plain_digits(text);
    let tokens = tokens(&text);
    let mut out = String::with_capacity(2 * text.len());
    let mut at = 0;
    while at < tokens.len() {
        let here = Here { earlier: &tokens[..at], tokens: &tokens[at..] };
        let said = SAYINGS.iter().find_map(|saying| saying(&here)).unwrap_or_else(|| pieces(here.core()));
        let last = tokens[at + said.tokens - 1];
        at += said.tokens;
        out.push_str(if tokens[at - said.tokens].lead.contains(['(', '[', '{']) { ", " } else { " " });
        out.push_str(&said.words);
        let tail = if said.swallows_stop { last.tail.replacen('.', "", 1) } else { last.tail.to_owned() };
        let goes_on = tokens.get(at).is_some_and(|next| next.core.starts_with(char::is_lowercase));
        out.push_str(&pause(&tail, goes_on));
    }
    out
}

/// The punctuation after a token: brackets and dashes are pauses, and so is an ellipsis in a sentence.
fn pause(tail: &str, goes_on: bool) -> String {
    if tail.contains("..") || tail.contains('…') {
        return if goes_on { "," } else { "." }.to_owned();
    }
    tail.chars().map(|mark| if ")]}—–".contains(mark) { ',' } else { mark }).collect()
}

/// A word without digits or signs is said as it is written.
fn word(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    core.chars().all(|c| c.is_alphabetic() || c == '\'' || c == '’').then(|| Said::one(core.to_owned()))?
}

/// Anything else, bit by bit: words, numbers, and the names of signs.
fn pieces(core: &str) -> Said {
    let mut said: Vec<String> = Vec::new();
    let mut rest = core;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphabetic() || "'’".contains(c) || ('\u{300}'..='\u{36f}').contains(&c);
        let end = if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
        } else if is_word(first) {
            rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (run, after) = rest.split_at(end);
        let next = after.chars().next();
        rest = after;
        if first.is_ascii_digit() {
            said.push(Number::parse(run).map_or_else(|| digits(run), |number| number.words()));
        } else if is_word(first) {
            match said.last_mut().filter(|_| before == '-').filter(|last| last.ends_with('-')) {
                Some(last) => last.push_str(run),
                None => said.push(run.to_owned()),
            }
        } else if first == '-' && before.is_alphabetic() && next.is_some_and(char::is_alphabetic) {
            // "well-known" stays together.
            if let Some(last) = said.last_mut() {
                last.push('-');
            }
        } else if let Some(name) = sign(first, before, next) {
            said.push(name.to_owned());
        }
        before = first_or_last(run, first);
    }
    Said { words: said.join(" "), tokens: 1, swallows_stop: false }
}

fn first_or_last(run: &str, first: char) -> char {
    run.chars().next_back().unwrap_or(first)
}

/// The name of a sign between what stands before and after it.
fn sign(sign: char, before: char, after: Option<char>) -> Option<&'static str> {
    let between = |test: fn(char) -> bool| test(before) && after.is_some_and(test);
    let is_digit = |c: char| c.is_ascii_digit();
    Some(match sign {
        '&' => "and",
        '+' => "plus",
        '@' => "at",
        '=' => "equals",
        '%' => "percent",
        '°' => "degrees",
        '#' => "number",
        '$' => "dollars",
        '€' => "euros",
        '£' => "pounds",
        '¥' => "yen",
        '₹' => "rupees",
        '¢' => "cents",
        '§' => "section",
        '×' => "times",
        '÷' => "divided by",
        '≥' => "at least",
        '≤' => "at most",
        '<' => "less than",
        '>' => "more than",
        '±' => "plus or minus",
        '→' => "to",
        '²' => "squared",
        '³' => "cubed",
        '½' => "one half",
        '¼' => "one quarter",
        '¾' => "three quarters",
        '/' if between(char::is_lowercase) => "or",
        '/' if between(char::is_alphabetic) => "",
        '/' => "slash",
        '-' | '−' if !before.is_alphanumeric() && after.is_some_and(is_digit) => "minus",
        '*' if between(is_digit) || (before == ' ' && after.is_none()) => "times",
        '.' if between(is_digit) => "point",
        '.' if between(char::is_alphanumeric) => "dot",
        ',' | ';' | ':' | '—' | '–' | '|' => ",",
        '!' => "!",
        '?' => "?",
        _ => return None,
    })
    .filter(|name| !name.is_empty())
}

/// Digits of other scripts as ours. Their blocks hold ten in order.
fn plain_digits(text: &str) -> String {
    const ZEROS: [char; 8] =
        ['\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{be6}', '\u{ff10}'];
    let plain = |character: char| {
        let zero = ZEROS.into_iter().find(|zero| (0..10).contains(&(character as i64 - *zero as i64)));
        zero.and_then(|zero| char::from_digit(character as u32 - zero as u32, 10)).unwrap_or(character)
    };
    text.chars().map(plain).collect()
}
