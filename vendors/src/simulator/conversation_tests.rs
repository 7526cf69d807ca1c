use super::*;

const PAID: &str = r#"{"invoice_id":"INV-TC-001","amount":"15000.00","currency":"USD","status":"paid","description":"Annual Enterprise License"}"#;

fn user(text: &str) -> Turn<'_> {
    Turn::User(text.into())
}

fn assistant(text: &str) -> Turn<'_> {
    Turn::Assistant { text: text.into(), calls: Vec::new() }
}

fn called<'a>(id: &'a str, tool: &'a str, arguments: Value) -> Turn<'a> {
    let call = PastCall { id: id.into(), tool: tool.into(), arguments };
    Turn::Assistant { text: "".into(), calls: vec![call] }
}

fn result<'a>(call_id: &'a str, text: &'a str, failed: bool) -> Turn<'a> {
    Turn::ToolResult { call_id: call_id.into(), tool: "".into(), text: text.into(), failed }
}

fn conversation<'a>(turns: Vec<Turn<'a>>) -> Conversation<'a> {
    let tools = ["invoice_lookup", "check_availability"].map(Cow::Borrowed).to_vec();
    Conversation { system: "You are the assistant of TechCorp. Be brief.".into(), turns, tools }
}

fn say(turns: Vec<Turn<'_>>) -> String {
    let answer = answer(&conversation(turns), None);
    assert!(answer.calls.is_empty(), "{:?}", answer.calls);
    answer.text
}

fn invoice(id: &str) -> Value {
    json!({"invoice_id": id})
}

#[test]
fn each_invoice_number_is_looked_up() {
    let asked = conversation(vec![user("What about INV-TC-001, INV-HF-12 and again INV-TC-001?")]);
    let answer = answer(&asked, None);
    let calls: Vec<_> =
        answer.calls.iter().map(|call| (call.tool.as_str(), call.arguments.clone())).collect();
    assert_eq!(calls, [("invoice_lookup", invoice("INV-TC-001")), ("invoice_lookup", invoice("INV-HF-12"))]);
    assert_eq!(answer.text, "");
}

#[test]
fn results_become_sentences() {
    let turns = vec![
        user("INV-TC-001 and INV-TC-999?"),
        called("1", "invoice_lookup", invoice("INV-TC-001")),
        called("2", "invoice_lookup", invoice("INV-TC-999")),
        result("1", PAID, false),
        result("2", r#"{"error":"not_found"}"#, true),
    ];
    let said = say(turns);
    assert!(
        said.starts_with(
            "Invoice INV-TC-001 for Annual Enterprise License is 15,000.00 USD and its status is paid. \
         I could not find invoice INV-TC-999"
        ),
        "{said}"
    );
}

#[test]
fn an_invoice_of_an_earlier_turn_is_not_looked_up_again() {
    let turns = vec![
        user("INV-TC-001?"),
        called("1", "invoice_lookup", invoice("INV-TC-001")),
        result("1", PAID, false),
        assistant("It is paid."),
        user("Thank you!"),
    ];
    assert!(say(turns).starts_with("You are welcome"));
}

#[test]
fn without_the_tool_it_says_so() {
    let mut asked = conversation(vec![user("INV-TC-001?")]);
    asked.tools.clear();
    let answer = answer(&asked, None);
    assert!(answer.calls.is_empty());
    assert!(answer.text.contains("INV-TC-001"));
}

#[test]
fn a_tool_that_is_named_is_called() {
    let asked = conversation(vec![user(r#"Please use check_availability {"date":"2026-01-02"}."#)]);
    let answer = answer(&asked, None);
    assert_eq!(answer.calls[0].tool, "check_availability");
    assert_eq!(answer.calls[0].arguments, json!({"date": "2026-01-02"}));
    let turns = vec![
        user("check_availability"),
        called("1", "check_availability", json!({})),
        result("1", "[]", false),
    ];
    assert_eq!(say(turns), "The tool check_availability answered: []");
}

#[test]
fn it_remembers_what_was_said() {
    let turns = |last| vec![user("My name is Maria Lopez and I need help"), assistant("…"), user(last)];
    assert_eq!(say(turns("What is my name?")), "Your name is Maria Lopez.");
    assert!(say(turns("what did I ask before?")).contains("\"My name is Maria Lopez and I need help\""));
    assert!(say(vec![user("My name is Ann.")]).contains("Ann"));
    assert!(say(vec![user("What's my name?")]).contains("not told me"));
}

#[test]
fn it_greets_as_the_system_prompt_says() {
    assert_eq!(say(vec![user("Hello")]), "Hello! I am the assistant of TechCorp. How can I help you today?");
    assert_eq!(say(vec![]), say(vec![user("Hi there")]));
}

#[test]
fn anything_else_is_acknowledged() {
    let said = say(vec![user("My printer is on fire")]);
    assert!(said.contains("My printer is on fire"), "{said}");
}

#[test]
fn tokens_follow_the_rule() {
    let turns =
        vec![user("12345"), called("1", "invoice_lookup", json!({"a": 1})), result("1", "1234", false)];
    let asked = Conversation { system: "1234".into(), turns, tools: vec!["free".into()] };
    assert_eq!(asked.tokens(), 1 + 2 + 2 + 1);
    let asked = conversation(vec![user("INV-TC-001")]);
    assert_eq!(answer(&asked, None).tokens(), count_tokens(r#"{"invoice_id":"INV-TC-001"}"#));
}

#[test]
fn a_reply_ends_at_its_limit() {
    let answer = answer(&conversation(vec![user("Hello")]), Some(2));
    assert_eq!((answer.text.as_str(), answer.cut), ("Hello! I", true));
    assert_eq!(answer.tokens(), 2);
}

#[test]
fn a_summary_is_made_of_the_first_words() {
    let text = "<summary>\nShe is Maria.\n</summary>\n<transcript>\nCustomer: INV-TC-001?\n</transcript>";
    let mut asked = conversation(vec![user(text)]);
    asked.system = "Summarise the conversation.".into();
    let answer = answer(&asked, None);
    assert!(answer.calls.is_empty());
    assert_eq!(answer.text, "She is Maria. Customer: INV-TC-001?");
}

#[test]
fn a_wish_to_leave_calls_the_tool_if_there_is_one() {
    let mut asked = conversation(vec![user("Please hang up")]);
    assert!(answer(&asked, None).calls.is_empty());
    asked.tools = ["end_call", "transfer_call"].map(Cow::Borrowed).to_vec();
    assert_eq!(answer(&asked, None).calls[0].tool, "end_call");
    asked.turns = vec![user("Transfer me to a person")];
    assert_eq!(answer(&asked, None).calls[0].tool, "transfer_call");

    let turns = |failed| {
        vec![user("Transfer me"), called("1", "transfer_call", json!({})), result("1", "no number", failed)]
    };
    assert!(say(turns(false)).starts_with("I am connecting you"));
    assert_eq!(say(turns(true)), "The tool transfer_call failed: no number");
}
