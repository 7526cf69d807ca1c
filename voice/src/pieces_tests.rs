use proptest::prelude::*;

use super::*;

fn cut(text: &str) -> Vec<String> {
    let mut pieces = Pieces::new(Config::default(), "en-US");
    let mut found = pieces.push(text);
    found.extend(pieces.finish());
    found.into_iter().map(|piece| piece.written).collect()
}

/// Each text with its pieces, split by `|`.
fn check(texts: &[&str]) {
    for expected in texts {
        let text: String = expected.replace('|', "");
        assert_eq!(cut(&text).join("|"), *expected);
    }
}

#[test]
fn the_first_piece_ends_at_the_first_clause_of_some_length() {
    check(&[
        "Of course, I can help with that. |What is your order number?",
        "Thanks for calling Tech Corp, |how can I help you today?",
        "Sure. I will look that up. |It takes a moment, so please stay on the line.",
        "I looked through all of the invoices for this year |and the last one that was paid is from May.",
        "Well... let me see what we have. |There is a place on Monday at nine.",
    ]);
}

#[test]
fn later_pieces_are_sentences() {
    check(&[
        "Your order has been shipped. |It left our warehouse on Monday, and it should be with you soon. |Is there \
         anything else, or is that all for today?",
        "I have found it for you. |Your balance is zero; nothing is due. |You can relax.",
        "Is that right for you? |Yes. No. Either is fine with us. |Take your time.",
    ]);
}

#[test]
fn what_is_said_in_one_go_is_not_cut() {
    check(&[
        "Your balance is $15,000.00 USD as of Nov. 21, 2026. |Would you like to pay?",
        "Please ask for Dr. Smith at 3:30 p.m. tomorrow in St. Louis.",
        "The U.S. Army office is on Main St. |The door is open at 9 a.m. |Please ring twice when you arrive.",
        "Call +1 415 555 0100, 9 - 5 on weekdays. |It is free of charge for everybody.",
        "Write to billing@tech-corp.com. |See https://tech-corp.com/a.b?c=1.5 for more on this.",
        "Your invoice INV-TC-001 costs 1,299.99 euros and is due on Monday, March 3, 2027. |Shall I send it?",
        "There are many ways, |e.g. by card, i.e. Visa or Mastercard, etc. |The fee is 2.5 percent.",
        "It is version 3.5 of item No. 7 in vol. 2. |No. That one is sold out today. |Sorry about that.",
        "J. R. Smith and Acme Inc. are the owners. |They have founded Acme Inc. |The rest is history, they say.",
    ]);
}

#[test]
fn long_sentences_are_cut_at_a_clause() {
    let long = "The delivery which you ordered in the second week of October was first sent to our central warehouse in the north \
                of the country, where it was checked for damage by two of our colleagues and then packed again, after which it \
                went on its way to you without any further delay at all.";
    let text = format!("I have the answer for you now. {long}");
    let pieces = cut(&text);
    assert_eq!(pieces.len(), 3, "{pieces:?}");
    assert!(pieces[1].ends_with("packed again, "), "{pieces:?}");
}

#[test]
fn a_long_run_of_words_is_cut_between_words_and_not_in_numbers() {
    let text =
        format!("Here it is. {} 415 555 0100 {}", "word ".repeat(40).trim(), "more ".repeat(40).trim());
    let pieces = cut(&text);
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.chars().count() < 240), "{pieces:?}");
    assert!(pieces.iter().any(|piece| piece.contains("415 555 0100")), "{pieces:?}");
}

#[test]
fn lines_and_lists_are_sentences() {
    check(&[
        "You need two things:\n|1. Your invoice number\n2. Your date of birth\n|Do you have them?",
        "We are open on these days:\n|- Monday to Friday\n- Saturday morning\n\n|Shall I book one?",
        "All lines of a paragraph\n|that goes on are one sentence. |So it is, always and everywhere.",
    ]);
}

#[test]
fn a_block_of_code_is_not_spoken() {
    let text = "Run this, please, on your computer:\n```sh\nrm -rf. Then wait.\n```\nThen start it again.";
    let mut pieces = Pieces::new(Config::default(), "en-US");
    let mut found = pieces.push(text);
    found.extend(pieces.finish());
    let spoken: Vec<&str> = found.iter().map(|piece| piece.spoken.as_str()).collect();
    assert_eq!(spoken.iter().filter(|spoken| spoken.contains("rm")).count(), 0, "{spoken:?}");
    assert_eq!(spoken.last(), Some(&"Then start it again."));
    assert_eq!(found.iter().map(|piece| piece.written.as_str()).collect::<String>(), text);
}

#[test]
fn marks_of_markdown_are_not_spoken() {
    let mut pieces = Pieces::new(Config::default(), "en-US");
    let mut found =
        pieces.push("## Your **order**\nSee [our page. It helps](https://a.example/b) 😊 for _all_ of `it`.");
    found.extend(pieces.finish());
    let spoken: Vec<&str> = found.iter().map(|piece| piece.spoken.as_str()).collect();
    assert_eq!(spoken.join(" "), "Your order. See our page. It helps for all of it.");
}

#[test]
fn pieces_come_as_soon_as_they_are_certain() {
    let mut pieces = Pieces::new(Config::default(), "en-US");
    assert_eq!(pieces.push("Thank you for waiting."), []);
    assert_eq!(pieces.push(" "), []);
    assert_eq!(pieces.push("Y")[0].written, "Thank you for waiting. ");
    // "Inc." may be the last word or not: the next word tells.
    assert_eq!(pieces.push("ou have reached the Acme Inc. Th"), []);
    assert_eq!(pieces.push("e ")[0].written, "You have reached the Acme Inc. ");
}

#[test]
fn a_pause_gives_a_whole_sentence_and_nothing_less() {
    let mut pieces = Pieces::new(Config::default(), "en-US");
    assert_eq!(pieces.push("Let me look"), []);
    assert_eq!(pieces.pause(), []);
    assert_eq!(pieces.push(" that up."), []);
    assert_eq!(pieces.pause()[0].written, "Let me look that up.");
    assert_eq!(pieces.push(" Mr."), []);
    assert_eq!(pieces.pause(), []);
    let last = pieces.finish();
    assert_eq!((last[0].range.clone(), last[0].written.as_str()), (20..24, " Mr."));
}

#[test]
fn an_empty_reply_has_no_pieces() {
    assert_eq!(cut(""), Vec::<String>::new());
    assert_eq!(cut(" \n"), [" \n"]);
}

fn texts() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "Hello",
        "the",
        "and",
        "Dr.",
        "U.S.",
        "3.5",
        "$15,000.00",
        "No.",
        "Inc.",
        "5.",
        "end.",
        "so,",
        "why?",
        "wow!",
        "...",
        "…",
        "-",
        "—",
        "1.",
        "[link.",
        "text](http://a.b)",
        "`code.",
        "it`",
        "```",
        "\n```\n",
        "\n",
        "\n\n",
        "  ",
        "a@b.co",
        "“Yes.”",
        "(see",
        "below).",
        "😊",
        "你好。",
        "Monday,",
        "é",
        "*",
        "**",
        "|",
        "which",
        "x".repeat(50).leak(),
    ]);
    prop::collection::vec((parts, prop::bool::weighted(0.8)), 0..60).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(part, space)| if space { format!("{part} ") } else { part.to_owned() })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_chopping_gives_the_same_pieces(text in texts(), sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let mut whole = Pieces::new(Config::default(), "en-US");
        let mut expected = whole.push(&text);
        expected.extend(whole.finish());

        let mut chopped = Pieces::new(Config::default(), "en-US");
        let (mut found, mut characters, mut sizes) = (Vec::new(), text.chars(), sizes.into_iter().cycle());
        loop {
            let delta: String = characters.by_ref().take(sizes.next().unwrap()).collect();
            if delta.is_empty() { break }
            found.extend(chopped.push(&delta));
        }
        found.extend(chopped.finish());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn pieces_cover_the_text(text in prop_oneof![texts(), any::<String>()]) {
        let mut pieces = Pieces::new(Config::default(), "en-US");
        let mut found = pieces.push(&text);
        found.extend(pieces.finish());
        let mut at = 0;
        for piece in found {
            prop_assert_eq!(piece.range.start, at);
            prop_assert_eq!(&text[piece.range.clone()], piece.written.as_str());
            prop_assert!(!piece.written.is_empty());
            at = piece.range.end;
        }
        prop_assert_eq!(at, text.len());
    }
}
