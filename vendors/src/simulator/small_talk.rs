//! What the brain says when there is nothing to look up.

/// Characters of somebody's words that are repeated to them.
const REPEATED_CHARACTERS: usize = 160;

/// How an agent with this system prompt opens a conversation.
pub(super) fn greeting(system: &str) -> String {
    role(system).map_or_else(
        || "Hello! How can I help you today?".to_owned(),
        |role| format!("Hello! I am {role}. How can I help you today?"),
    )
}

/// `earlier` are the user's messages before this one, oldest first.
pub(super) fn reply(message: &str, earlier: &[&str], system: &str) -> String {
    let lower = message.to_ascii_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));

    if has(&["what is my name", "what's my name", "who am i", "do you know my name"]) {
        let name = earlier.iter().rev().find_map(|text| name_in(text));
        return name.map_or_else(
            || "You have not told me your name yet.".to_owned(),
            |name| format!("Your name is {name}."),
        );
    }
    if has(&["did i ask", "did i say", "did i just", "i asked before", "my previous", "my last question"]) {
        return earlier.last().map_or_else(
            || "You have not asked me anything before.".to_owned(),
            |text| format!("Before that you said: \"{}\"", short(text)),
        );
    }
    if let Some(name) = name_in(message) {
        return format!("Nice to meet you, {name}. How can I help you?");
    }
    if has(&["who are you", "what is your name", "what's your name"]) {
        return role(system)
            .map_or_else(|| "I am your assistant.".to_owned(), |role| format!("I am {role}."));
    }
    if has(&["invoice"]) {
        return "Which invoice do you mean? Please tell me its number, such as INV-AB-001.".to_owned();
    }
    let first = lower.split(|character: char| !character.is_alphanumeric()).find(|word| !word.is_empty());
    match first {
        None | Some("hello" | "hi" | "hey" | "greetings") if lower.len() <= 40 => greeting(system),
        Some("thanks" | "thank") => "You are welcome. Is there anything else I can do for you?".to_owned(),
        Some("bye" | "goodbye") => "Goodbye, and have a nice day!".to_owned(),
        _ => {
            format!("I understand: \"{}\". Is there anything more you can tell me about it?", short(message))
        }
    }
}

/// The first words of a text, in order to be short about it; lines in pointed brackets are none.
pub(super) fn summary(text: &str) -> String {
    let is_tag = |line: &str| line.starts_with('<') && line.ends_with('>');
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_tag(line));
    short(&words.collect::<Vec<_>>().join(" "))
}

/// Who the system prompt says that we are: what follows its first "You are", to the end of that phrase.
fn role(system: &str) -> Option<&str> {
    let lower = system.to_ascii_lowercase();
    let start = lower.find("you are ")? + "you are ".len();
    let rest = &system[start..];
    let role = rest.split(['.', ',', ';', ':', '\n']).next()?.trim();
    (!role.is_empty() && role.chars().count() <= 80).then_some(role)
}

/// The name that somebody gives as theirs: after "my name is", while words look like names.
fn name_in(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let start = lower.find("my name is ")? + "my name is ".len();
    let phrase = text[start..].split(['.', ',', ';', '!', '?', '\n']).next()?;
    let mut words = phrase.split_whitespace();
    let mut name = words.next()?.to_owned();
    for word in words.take(2).take_while(|word| word.chars().next().is_some_and(char::is_uppercase)) {
        name.push(' ');
        name.push_str(word);
    }
    Some(name)
}

fn short(text: &str) -> String {
    text.trim().chars().take(REPEATED_CHARACTERS).collect()
}
