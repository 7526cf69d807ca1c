//! Where a vendor is, and with which keys: several of either make several endpoints.

use secrecy::SecretString;

use crate::settings::{Reader, url_of};

/// Of one vendor. They are a metric's label, so their number is bounded.
const MAX_ENDPOINTS: usize = 32;

/// One key at one address.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub base_url: BaseUrl,
    pub api_key: SecretString,
}

/// Where a vendor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseUrl {
    Url(String),
    /// At this path of the simulated servers, wherever those are.
    Simulated(&'static str),
}

impl BaseUrl {
    /// The address, with the simulated servers at `simulator`.
    pub fn with(&self, simulator: &str) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Simulated(path) => format!("{simulator}{path}"),
        }
    }
}

/// Reads addresses, or the word `simulated`, with commas between them.
pub(crate) fn base_urls(simulated_path: &'static str) -> impl Fn(&str) -> Result<Vec<BaseUrl>, String> {
    list_of(base_url(simulated_path))
}

/// Reads one of them.
pub(crate) fn base_url(simulated_path: &'static str) -> impl Fn(&str) -> Result<BaseUrl, String> {
    move |text| match text {
        "simulated" => Ok(BaseUrl::Simulated(simulated_path)),
        url => url_of(&["http", "https"])(url)
            .map(BaseUrl::Url)
            .map_err(|mistake| format!("{mistake}, or be simulated")),
    }
}

/// Reads keys with commas between them.
pub(crate) fn api_keys(text: &str) -> Result<Vec<SecretString>, String> {
    list_of(|key| Ok(SecretString::from(key)))(text)
}

fn list_of<T>(parse: impl Fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<Vec<T>, String> {
    move |text| {
        let items: Vec<&str> = text.split(',').map(str::trim).collect();
        if items.len() > MAX_ENDPOINTS {
            return Err(format!("must have at most {MAX_ENDPOINTS} entries"));
        }
        if items.len() > 1 && items.contains(&"") {
            return Err("has an empty entry between its commas".to_owned());
        }
        items.into_iter().map(&parse).collect()
    }
}

/// Pairs keys and addresses: one of either goes with all of the other. `key` and `base_url` are their variables.
pub(crate) fn pair(
    reader: &mut Reader<'_>,
    (key, keys): (&str, Vec<SecretString>),
    (base_url, urls): (&str, Vec<BaseUrl>),
) -> Vec<Endpoint> {
    let count = keys.len().max(urls.len());
    let fits = |length| length == count || length == 1;
    if !fits(keys.len()) || !fits(urls.len()) {
        reader.mistake(format!(
            "{key} has {} keys and {base_url} {} addresses: there must be as many of both, or one of either",
            keys.len(),
            urls.len()
        ));
        return Vec::new();
    }
    let (keys, urls) = (keys.into_iter().cycle(), urls.into_iter().cycle());
    keys.zip(urls).take(count).map(|(api_key, base_url)| Endpoint { base_url, api_key }).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use crate::settings::Settings;

    /// The endpoints of OpenAI with these two variables, or all mistakes.
    fn openai(keys: &str, urls: Option<&str>) -> Result<Vec<(String, String)>, String> {
        let lookup = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://vocalbridge:secret@127.0.0.1:5432/vocalbridge".to_owned()),
            "NATS_URL" => Some("nats://127.0.0.1:4222".to_owned()),
            "VOCALBRIDGE_OPERATOR_KEY" => Some("operator-operator".to_owned()),
            "VOCALBRIDGE_SECRET_KEY" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
            "OPENAI_API_KEY" => Some(keys.to_owned()),
            "OPENAI_BASE_URL" => urls.map(str::to_owned),
            _ => None,
        };
        let settings = Settings::read(&lookup).map_err(|error| error.to_string())?;
        let vendors = settings.vendors.language_models.vendors;
        let openai = vendors.into_iter().find(|vendor| vendor.provider == "openai");
        let endpoints = openai.into_iter().flat_map(|vendor| vendor.endpoints);
        let shown = endpoints.map(|endpoint| {
            (endpoint.api_key.expose_secret().to_owned(), endpoint.base_url.with("http://sim"))
        });
        Ok(shown.collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(key, url)| ((*key).to_owned(), (*url).to_owned())).collect())
    }

    #[test]
    fn one_goes_with_many_and_many_with_as_many() {
        let (usual, simulated) = ("https://api.openai.com/v1", "http://sim/openai/v1");
        assert_eq!(openai("a", None), pairs(&[("a", usual)]));
        assert_eq!(openai("a, b", None), pairs(&[("a", usual), ("b", usual)]));
        assert_eq!(
            openai("a", Some("http://x/v1/,simulated")),
            pairs(&[("a", "http://x/v1"), ("a", simulated)])
        );
        assert_eq!(openai("a,b", Some("http://x,http://y")), pairs(&[("a", "http://x"), ("b", "http://y")]));
    }

    #[test]
    fn other_numbers_are_a_mistake_that_names_both_and_shows_no_key() {
        for (keys, urls) in
            [("hush,hush2", "http://x,http://y,http://z"), ("hush,hush2,hush3", "http://x,http://y")]
        {
            let mistake = openai(keys, Some(urls)).unwrap_err();
            assert!(mistake.contains("OPENAI_API_KEY") && mistake.contains("OPENAI_BASE_URL"), "{mistake}");
            assert!(!mistake.contains("hush"), "{mistake}");
        }
        for (keys, urls) in [("hush,,b", "http://x"), ("hush,", "http://x")] {
            let mistake = openai(keys, Some(urls)).unwrap_err();
            assert!(mistake.contains("OPENAI_API_KEY has an empty entry"), "{mistake}");
        }
        assert!(
            openai("hush", Some("http://x,nowhere")).unwrap_err().contains("OPENAI_BASE_URL must be a URL")
        );
        assert!(openai(&"a,".repeat(32), None).unwrap_err().contains("OPENAI_API_KEY must have at most 32"));
    }
}
