//! TwiML, the XML that Twilio's webhooks are answered with.

use std::fmt::{self, Write};

/// What is to happen on a call, verb after verb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response(Vec<Verb>);

/// What we ever ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Opens a Media Stream in both directions, and lasts as long as its socket. `url` has no query: what the socket must
    /// know goes as parameters, at most 500 characters of name and value each.
    ConnectStream {
        url: String,
        parameters: Vec<(&'static str, String)>,
    },
    /// Goes on with what this address answers.
    Redirect {
        url: String,
    },
    /// Says the text, in the language of this BCP 47 tag.
    Say {
        text: String,
        language: String,
    },
    /// Does not answer the call: the caller hears a busy tone, and nobody pays.
    RejectAsBusy,
    Hangup,
}

impl Response {
    /// The document.
    pub fn of(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self(verbs.into_iter().collect())
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>")?;
        self.0.iter().try_for_each(|verb| write!(f, "{verb}"))?;
        f.write_str("</Response>")
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectStream { url, parameters } => {
                write!(f, "<Connect><Stream url=\"{}\">", Escaped(url))?;
                for (name, value) in parameters {
                    write!(f, "<Parameter name=\"{}\" value=\"{}\"/>", Escaped(name), Escaped(value))?;
                }
                f.write_str("</Stream></Connect>")
            }
            Self::Redirect { url } => write!(f, "<Redirect method=\"POST\">{}</Redirect>", Escaped(url)),
            Self::Say { text, language } => {
                write!(f, "<Say language=\"{}\">{}</Say>", Escaped(language), Escaped(text))
            }
            Self::RejectAsBusy => f.write_str("<Reject reason=\"busy\"/>"),
            Self::Hangup => f.write_str("<Hangup/>"),
        }
    }
}

/// Text as it may stand between tags and in attributes. Characters that XML 1.0 cannot hold become a blank.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => f.write_char(' '),
            character if character.is_control() => f.write_char(' '),
            character => f.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_connected_and_comes_back_when_its_socket_is_lost() {
        let parameters = vec![("token", "a.b-c_d".to_owned())];
        let response = Response::of([
            Verb::ConnectStream { url: "wss://a.example/ws/voice-twilio".to_owned(), parameters },
            Verb::Redirect { url: "https://a.example/api/twilio/incoming?again=1&x=2".to_owned() },
        ]);
        assert_eq!(
            response.to_string(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Connect><Stream \
             url=\"wss://a.example/ws/voice-twilio\"><Parameter name=\"token\" value=\"a.b-c_d\"/></Stream></Connect>\
             <Redirect method=\"POST\">https://a.example/api/twilio/incoming?again=1&amp;x=2</Redirect></Response>"
        );
    }

    #[test]
    fn a_refusal_is_spoken_or_a_busy_tone() {
        let say = Verb::Say { text: "Sorry.".to_owned(), language: "en-US".to_owned() };
        assert_eq!(
            Response::of([say, Verb::Hangup]).to_string().lines().last(),
            Some("<Response><Say language=\"en-US\">Sorry.</Say><Hangup/></Response>")
        );
        assert_eq!(Verb::RejectAsBusy.to_string(), "<Reject reason=\"busy\"/>");
    }

    #[test]
    fn no_text_becomes_markup() {
        let text = "</Say><Dial>+1900</Dial> & \"'\u{0}\u{b}\u{ffff}é".to_owned();
        assert_eq!(
            Verb::Say { text, language: "\"><x".to_owned() }.to_string(),
            "<Say language=\"&quot;&gt;&lt;x\">&lt;/Say&gt;&lt;Dial&gt;+1900&lt;/Dial&gt; &amp; &quot;&apos;   é</Say>"
        );
    }
}
