use proptest::prelude::*;

use super::*;

type Values = BTreeMap<String, String>;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn settings(content: &str, variables: &[(&str, &str)]) -> PromptSettings {
    PromptSettings {
        name: "Desk".to_owned(),
        description: String::new(),
        category: None,
        content: content.to_owned(),
        variables: values(variables),
    }
}

fn given(content: &str, variables: &[(&str, &str)]) -> Prompt {
    Prompt::of(&settings(content, variables)).unwrap()
}

fn mistakes(content: &str, variables: &[(&str, &str)]) -> Vec<Mistake> {
    Prompt::of(&settings(content, variables)).unwrap_err()
}

#[test]
fn a_variable_is_replaced_by_its_default_however_it_is_spaced() {
    let prompt =
        given("{{company}}, {{ company }} and {{   _x9 }}!", &[("company", "TechCorp"), ("_x9", "")]);
    assert_eq!(prompt.render(&[]), "TechCorp, TechCorp and !");
}

#[test]
fn the_first_who_gives_a_value_is_heard() {
    let prompt = given("{{a}}{{b}}{{c}}", &[("a", "1"), ("b", "1"), ("c", "1")]);
    let (agent, session) = (values(&[("a", "2"), ("b", "2")]), values(&[("a", "3")]));
    assert_eq!(prompt.render(&[&session, &agent]), "321");
}

#[test]
fn an_empty_value_is_a_value() {
    let prompt = given("<{{a}}>", &[("a", "default")]);
    assert_eq!(prompt.render(&[&values(&[("a", "")])]), "<>");
}

#[test]
fn a_value_is_not_read_for_variables_again() {
    let prompt = given("{{a}}", &[("a", ""), ("b", "secret")]);
    assert_eq!(prompt.render(&[&values(&[("a", r"{{b}} \{{b}} {{")])]), r"{{b}} \{{b}} {{");
}

#[test]
fn values_for_variables_that_there_are_not_are_passed_over() {
    assert_eq!(given("{{a}}", &[("a", "1")]).render(&[&values(&[("z", "9")])]), "1");
}

#[test]
fn a_backslash_makes_braces_plain_and_a_doubled_one_is_itself() {
    let prompt = given(r"\{{a}} \\{{a}} \\\{{a}} C:\dir \{ { } }} {x}", &[("a", "1")]);
    assert_eq!(prompt.render(&[]), r"{{a}} \1 \{{a}} C:\dir \{ { } }} {x}");
}

#[test]
fn json_in_a_prompt_needs_no_escape() {
    let content = r#"Answer {"name": "{{name}}", "list": [{"a": {"b": 1}}]}"#;
    let prompt = given(content, &[("name", "Ada")]);
    assert_eq!(prompt.render(&[]), r#"Answer {"name": "Ada", "list": [{"a": {"b": 1}}]}"#);
}

#[test]
fn braces_that_are_no_variable_are_refused_with_their_line() {
    for content in
        ["{{", "{{}}", "{{ }}", "{{1a}}", "{{a b}}", "{{a-b}}", "{{{a}}}", "{{a}", "{{a\n}}", "{{ä}}"]
    {
        let found = mistakes(&format!("one\ntwo {content}"), &[("a", "")]);
        assert_eq!(found.len(), 1, "{content}: {found:?}");
        assert_eq!(found[0].field, "content", "{content}");
        assert!(found[0].message.contains("in line 2 "), "{content}: {}", found[0].message);
    }
}

#[test]
fn a_variable_that_is_not_declared_is_named_once() {
    let found = mistakes("{{b}} {{a}} {{b}} {{c}}", &[("c", "")]);
    let told: Vec<_> =
        found.iter().map(|mistake| (mistake.field.as_str(), mistake.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("content", "names {{a}}, which is not among the variables"),
            ("content", "names {{b}}, which is not among the variables")
        ]
    );
}

#[test]
fn a_declared_variable_need_not_be_used() {
    let prompt = given("Hello", &[("unused", "x")]);
    assert!(prompt.declares("unused") && !prompt.declares("other"));
    assert_eq!(prompt.variables().collect::<Vec<_>>(), ["unused"]);
}

#[test]
fn names_lengths_and_numbers_have_limits() {
    let long_name = "n".repeat(MAX_NAME_CHARS + 1);
    let long_value = "ü".repeat(MAX_VALUE_CHARS + 1);
    let fields = |found: Vec<Mistake>| found.into_iter().map(|mistake| mistake.field).collect::<Vec<_>>();
    assert_eq!(fields(mistakes("", &[(&long_name, "")])), [format!("variables.{long_name}")]);
    assert_eq!(fields(mistakes("", &[("a b", ""), ("c", &long_value)])), ["variables.a b", "variables.c"]);
    assert_eq!(fields(mistakes(&"{{a}}".repeat(MAX_PLACES + 1), &[("a", "")])), ["content"]);
    assert_eq!(given(&"{{a}}".repeat(MAX_PLACES), &[("a", "1")]).render(&[]), "1".repeat(MAX_PLACES));
    let names: Vec<String> = (0..=MAX_VARIABLES).map(|number| format!("v{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(fields(mistakes("", &many)), ["variables"]);
    assert!(Prompt::of(&settings("", &many[1..])).is_ok());
    given("", &[(&long_name[1..], &"ü".repeat(MAX_VALUE_CHARS))]);
}

/// Text that has much of what means something.
fn odd_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("{{".to_owned()),
        Just("}}".to_owned()),
        Just("{".to_owned()),
        Just("\\".to_owned()),
        Just("{{a}}".to_owned()),
        Just("{{ b }}".to_owned()),
        Just("a".to_owned()),
        Just(" ".to_owned()),
        "\\PC{0,4}",
    ];
    prop::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
}

/// `text` as it must be written to be itself, whatever stands before and after it.
fn escaped(text: &str) -> String {
    let mut written = String::new();
    let mut backslashes = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with(OPENING) {
            // Each backslash before it twice, and one more.
            written.extend(repeat_n('\\', backslashes + 1));
            written.push_str(OPENING);
            (backslashes, rest) = (0, &rest[OPENING.len()..]);
            continue;
        }
        backslashes = if first == '\\' { backslashes + 1 } else { 0 };
        written.push(first);
        rest = &rest[first.len_utf8()..];
    }
    written
}

proptest! {
    #[test]
    fn no_content_and_no_value_ever_breaks_it(content in odd_text(), one in odd_text(), two in odd_text()) {
        let variables = [("a", one.as_str()), ("b", "default")];
        if let Ok(prompt) = Prompt::of(&settings(&content, &variables)) {
            prompt.render(&[]);
            prompt.render(&[&values(&[("b", &two), ("c", &two)])]);
        }
    }

    #[test]
    fn any_text_can_be_written_as_itself(text in odd_text()) {
        prop_assume!(!text.ends_with(['\\', '{']));
        let prompt = given(&format!("{}{{{{a}}}}", escaped(&text)), &[("a", "1")]);
        prop_assert_eq!(prompt.render(&[]), format!("{text}1"));
    }

    #[test]
    fn values_stand_in_the_text_as_they_are(before in "[^{\\\\]{0,20}", value in odd_text(), after in "[^{]{0,20}") {
        let prompt = given(&format!("{before}{{{{a}}}}{after}"), &[("a", "default")]);
        prop_assert_eq!(prompt.render(&[&values(&[("a", &value)])]), format!("{before}{value}{after}"));
    }

    #[test]
    fn text_without_double_braces_is_itself(text in "\\PC{0,60}") {
        prop_assume!(!text.contains(OPENING));
        prop_assert_eq!(given(&text, &[]).render(&[]), text);
    }
}
