use proptest::prelude::*;

use super::*;

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(written, said)| (written, said, speakable(written, "en-US")))
        .filter(|(_, said, found)| *said != found)
        .map(|(written, said, found)| format!("{written:?}\n  said   {found:?}\n  wanted {said:?}"))
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn numbers() {
    check(&[
        ("I have 3 items.", "I have three items."),
        ("There are 1,234 of 15000.", "There are one thousand two hundred thirty-four of fifteen thousand."),
        ("It is 3.14 or -5.", "It is three point one four or minus five."),
        ("The 1st, 2nd, 23rd and 100th.", "The first, second, twenty-third and one hundredth."),
        ("Option #2 or #48213", "Option number two or number four eight two one three"),
        ("We had ~20, 50+ or >3", "We had about twenty, fifty plus or more than three"),
        ("Version 1.2.3", "Version one point two point three"),
        ("Since 2026, in the 1990s", "Since twenty twenty-six, in the nineteen nineties"),
        ("2024-2026", "twenty twenty-four to twenty twenty-six"),
        ("from 9-5", "from nine to five"),
        ("10–20 people", "ten to twenty people"),
        ("1/2 or 3/4 or 2 1/2", "one half or three quarters or two and a half"),
        ("½ cup, 2½ cups", "one half cup, two and a half cups"),
        ("We are open 24/7.", "We are open twenty-four seven."),
        ("a ratio of 3:1", "a ratio of three to one"),
        ("2x the size", "two times the size"),
        ("3 + 4 = 7", "three plus four equals seven"),
        ("5 * 3", "five times three"),
        ("٣ or ５", "three or five"),
    ]);
}

#[test]
fn money() {
    check(&[
        ("$42.50", "forty-two dollars and fifty cents"),
        ("$15,000.00", "fifteen thousand dollars"),
        ("15,000.00 USD", "fifteen thousand dollars"),
        ("USD 20", "twenty dollars"),
        ("It is $1.", "It is one dollar."),
        ("$1.01", "one dollar and one cent"),
        ("$0.05", "five cents"),
        ("$1.2M", "one point two million dollars"),
        ("$5 million", "five million dollars"),
        ("$3.5 billion USD", "three point five billion dollars"),
        ("€20", "twenty euros"),
        ("20€", "twenty euros"),
        ("£3.50", "three pounds and fifty pence"),
        ("99¢", "ninety-nine cents"),
        ("-$5", "minus five dollars"),
        ("$-5", "minus five dollars"),
        ("$5-$10", "five to ten dollars"),
        ("$5-10", "five to ten dollars"),
        ("$29.99/month", "twenty-nine dollars and ninety-nine cents per month"),
        ("1,299.99 EUR.", "one thousand two hundred ninety-nine euros and ninety-nine cents."),
        ("Your balance is $15,000.00, sir.", "Your balance is fifteen thousand dollars, sir."),
        ("US$5", "five dollars"),
        ("¥500", "five hundred yen"),
        ("100K users", "one hundred thousand users"),
    ]);
}

#[test]
fn times() {
    check(&[
        ("at 3:30", "at three thirty"),
        ("at 3:05 pm.", "at three oh five P M."),
        ("at 15:00", "at three P M"),
        ("at 15:45", "at three forty-five P M"),
        ("at 9:00", "at nine o'clock"),
        ("at 9:00 a.m. tomorrow", "at nine A M tomorrow"),
        ("9am-5pm", "nine A M to five P M"),
        ("9-5 pm", "nine to five P M"),
        ("9:00-17:00", "nine o'clock to five P M"),
        ("at 9AM", "at nine A M"),
        ("at 00:30", "at twelve thirty A M"),
        ("12:00 PM", "twelve P M"),
        ("3:05:09", "three oh five and nine seconds"),
        ("12:75", "twelve to seventy-five"),
    ]);
}

#[test]
fn dates() {
    check(&[
        ("2026-11-21", "November twenty-first, twenty twenty-six"),
        ("11/21/2026", "November twenty-first, twenty twenty-six"),
        ("21/11/2026", "November twenty-first, twenty twenty-six"),
        ("11/21/26", "November twenty-first, twenty twenty-six"),
        ("on 11/21", "on November twenty-first"),
        ("Nov 21", "November twenty-first"),
        ("Nov. 21, 2026, at noon", "November twenty-first, twenty twenty-six, at noon"),
        ("November 3rd.", "November third."),
        ("21 Nov 2026", "November twenty-first, twenty twenty-six"),
        ("May 2025", "May twenty twenty-five"),
        ("May I help?", "May I help?"),
        ("Mon, Dec 1", "Monday, December first"),
        ("Mon-Fri", "Monday to Friday"),
        ("Dec 1-3", "December first to third"),
        (
            "2026-11-21T15:30:00Z",
            "November twenty-first, twenty twenty-six at three thirty P M and zero seconds U T C",
        ),
        ("13/32/2026", "thirteen slash thirty-two slash two thousand twenty-six"),
    ]);
}

#[test]
fn telephone_numbers() {
    let said = "four one five, five five five, zero one zero zero";
    check(&[
        ("+1 415 555 0100", &format!("plus one, {said}")),
        ("+14155550100", &format!("plus one, {said}")),
        ("(415) 555-0100", said),
        ("415-555-0100", said),
        ("415.555.0100", said),
        ("4155550100", said),
        ("1-800-555-0199", "one, eight zero zero, five five five, zero one nine nine"),
        ("555-0100", "five five five, zero one zero zero"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        ("4111 1111 1111 1111", "four one one one, one one one one, one one one one, one one one one"),
        ("Call 911 or +1 (415) 555-0100.", &format!("Call nine one one or plus one, {said}.")),
    ]);
}

#[test]
fn addresses() {
    check(&[
        ("billing@tech-corp.com", "billing at tech dash corp dot com"),
        ("Write to a.b_c+1@x.co.uk.", "Write to a dot B underscore C plus one at X dot co dot U K."),
        ("https://tech-corp.com/pay", "tech dash corp dot com slash pay"),
        ("www.example.org", "W W W dot example dot org"),
        ("See example.com.", "See example dot com."),
        ("http://localhost:8080/", "localhost colon eight zero eight zero"),
        ("https://a.io/x?id=15", "a dot I O slash X question mark id equals one five"),
        ("<https://example.com>", "example dot com"),
    ]);
}

#[test]
fn ids_and_acronyms() {
    check(&[
        ("INV-TC-001", "I N V, T C, zero zero one"),
        ("Invoice INV-TC-001 is paid.", "Invoice I N V, T C, zero zero one is paid."),
        ("order 48213", "order four eight two one three"),
        ("Your code is 482130.", "Your code is four eight two one three zero."),
        ("A1B2", "A one B two"),
        ("COVID-19", "COVID, nineteen"),
        ("B2B and MP3", "B two B and M P three"),
        ("USD", "U S D"),
        ("The API of NASA", "The A P I of NASA"),
        ("two PDFs", "two P D F's"),
        ("PLEASE STOP, it is OK", "PLEASE STOP, it is okay"),
        ("Room 0420", "Room zero four two zero"),
        ("Room 12B", "Room one two B"),
        ("a card ending in 4242, ext. 204", "a card ending in four two four two, extension two zero four"),
        ("Springfield, IL 62704.", "Springfield, I L six two seven zero four."),
        ("Henry VIII and World War II", "Henry the eighth and World War two"),
        ("Chapter IV", "Chapter four"),
        ("I am here", "I am here"),
    ]);
}

#[test]
fn short_forms() {
    check(&[
        ("Dr. Smith and Mrs. Jones", "Doctor Smith and Missus Jones"),
        ("St. Louis", "Saint Louis"),
        ("12 Main St. is here", "twelve Main Street is here"),
        ("Acme Inc. is here. Acme Inc.", "Acme Incorporated is here. Acme Incorporated."),
        ("e.g. a card, i.e. Visa, etc.", "for example, a card, that is, Visa, et cetera."),
        ("9 Main St., Apt. 4B, max. 2", "nine Main Street, apartment four B, maximum two"),
        ("No. 5", "number five"),
        ("No. I can't.", "No. I can't."),
        ("us vs. them", "us versus them"),
        ("the U.S. office", "the U S office"),
        ("J. R. Smith", "J R Smith"),
        ("w/ cheese, n/a", "with cheese, not applicable"),
    ]);
}

#[test]
fn measures() {
    check(&[
        ("20%", "twenty percent"),
        ("5-10%", "five to ten percent"),
        ("25°C", "twenty-five degrees Celsius"),
        ("1 kg or 5kg", "one kilogram or five kilograms"),
        ("16 GB", "sixteen gigabytes"),
        ("60 mph", "sixty miles per hour"),
        ("5 in total", "five in total"),
        ("30 min.", "thirty minutes"),
    ]);
}

#[test]
fn signs_and_marks() {
    check(&[
        ("R&D & more", "R and D and more"),
        ("Wait!!! What?!", "Wait! What?"),
        ("Well... let me see. Hmm... No.", "Well, let me see. Hmm. No."),
        ("Yes — of course – sure", "Yes, of course, sure"),
        ("(see below)", "see below,"),
        ("A well-known “quote”, isn’t it?", "A well-known quote, isn't it?"),
        ("and/or he/she", "and or he or she"),
        ("Great 😊👍🏽!", "Great!"),
        ("**Bold** and _it_ and `code` and ~~no~~", "Bold and it and code and no"),
        ("# Title\nText", "Title. Text"),
        ("- one\n- two", "one. two"),
        ("1. First\n2. Second", "one, First. two, Second"),
        ("[our page](https://x.com/1)", "our page"),
        ("![logo](https://x.com/1.png)", ""),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b. one, two"),
        ("```\nlet x = 1;\n```", ""),
        ("a<br>b &amp; c", "a b and c"),
        ("", ""),
        ("😊", ""),
        ("...", ""),
    ]);
}

#[test]
fn other_languages_keep_their_numbers() {
    assert_eq!(speakable("**Das** kostet 3,50 € 😊", "de-DE"), "Das kostet 3,50");
    assert_eq!(speakable("你好，世界！", "zh"), "你好,世界!");
    assert_eq!(speakable("C'est à 15:30…", "fr"), "C'est à 15:30.");
}

fn hard() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "1", "0", "42", "2026", "007", "1,000", ".", ",", "-", ":", "/", "$", "€", "%", "°", "#", "+", "@",
        "a", "Nov", "am", "pm", " ", "  ", "K", "INV", "USD", "x", "st", "½", "²", "é", "🙂", "(", ")", "\n",
        "|", "*", "_", "`", "~", "st.", "e.g.", "No.", "www.", ".com", "T", "Z", "http://", "'", "&amp;",
        "<", ">", "[", "](", "٣", "－", "III", "kg", "1/2", "\u{301}", "¢", "VIII", "'s",
    ]);
    prop::collection::vec(bits, 0..12).prop_map(|bits| bits.concat())
}

/// How many digits the words say, if each is said by itself: what ids must give back.
fn digits_said(words: &str) -> String {
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let said = words.split([' ', ',', '.']).filter_map(|word| names.iter().position(|name| *name == word));
    said.map(|digit| digit.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn only_words_and_their_punctuation_come_out(text in prop_oneof![hard(), any::<String>(), "\\PC{0,40}"]) {
        let said = speakable(&text, "en-US");
        prop_assert!(!said.contains(|c: char| c.is_ascii_digit()), "{:?}", said);
        prop_assert!(said.chars().all(|c| is_spoken(c) || " ,.?!;:'-".contains(c)), "{:?}", said);
        prop_assert!(!said.contains("  ") && said.trim() == said, "{:?}", said);
        let other = speakable(&text, "de");
        prop_assert!(other.chars().all(|c| is_spoken(c) || " ,.?!;:'-".contains(c)), "{:?}", other);
    }

    #[test]
    fn ids_give_every_digit_back(id in "[A-Z]{2,4}-[0-9]{3,9}(-[A-Z]{1,3}[0-9]{3,5})?") {
        let digits: String = id.chars().filter(char::is_ascii_digit).collect();
        prop_assert_eq!(digits_said(&speakable(&id, "en-US")), digits);
    }

    #[test]
    fn telephone_numbers_give_every_digit_back(number in "\\+[1-9][0-9]{7,14}|[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}|\\+[1-9] [0-9]{3} [0-9]{3} [0-9]{4}") {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        prop_assert_eq!(digits_said(&speakable(&number, "en-US")), digits);
    }

    /// Whatever it is taken for, a number is said.
    #[test]
    fn a_token_with_digits_is_never_silent(before in "[a-z$#(@./_-]{0,3}", digits in "[0-9]{1,12}", after in "[a-z%).:/@-]{0,4}") {
        let said = speakable(&format!("x {before}{digits}{after} y"), "en-US");
        prop_assert!(said.split([' ', ',']).filter(|word| !word.is_empty()).count() > 2, "{:?}", said);
    }
}
