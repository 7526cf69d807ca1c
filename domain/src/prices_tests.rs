use chrono::TimeDelta;
use events::call::SpeechKind;
use events::prices::{Per, Rate, Unit};

use super::*;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_763_700_000, 0).unwrap()
}

fn price(kind: PriceKind, provider: &str, model: Option<&str>, rates: &[(Unit, i64, u32)]) -> Price {
    let rate = |(unit, mantissa, scale): &(Unit, i64, u32)| Rate {
        unit: *unit,
        usd: Decimal::new(*mantissa, *scale),
        per: if matches!(unit, Unit::Input | Unit::Output) { Per::Million } else { Per::One },
    };
    Price {
        kind,
        provider: provider.to_owned(),
        model: model.map(str::to_owned),
        rates: rates.iter().map(rate).collect(),
    }
}

fn model(provider: &str, model: Option<&str>, usd: i64) -> Price {
    price(PriceKind::Model, provider, model, &[(Unit::Input, usd, 0), (Unit::Output, usd, 0)])
}

fn list(version: u32, effective_from: DateTime<Utc>, prices: Vec<Price>) -> PriceList {
    PriceList { version, effective_from, prices }
}

fn book(global: Vec<PriceList>, tenant: Vec<PriceList>) -> PriceBook {
    PriceBook::new(global.into(), tenant.into())
}

fn million() -> Tokens {
    Tokens { input: 1_000_000, ..Tokens::default() }
}

/// What a million tokens cost, and by which version.
fn cost(book: &PriceBook, time: DateTime<Utc>, provider: &str, model: &str) -> (String, String) {
    let metered = book.at(time).meter(provider, model, million(), false);
    (metered.cost_usd.to_string(), metered.price_version)
}

fn says(usd: &str, version: &str) -> (String, String) {
    (usd.to_owned(), version.to_owned())
}

#[test]
fn the_contract_example_costs_what_it_says() {
    // 0.002 USD per 1,000 tokens, 123 tokens.
    let book = book(vec![list(1, noon(), vec![model("vendor_a", None, 2)])], vec![]);
    let tokens = Tokens { input: 103, cached: 0, output: 20 };
    assert_eq!(book.at(noon()).meter("vendor_a", "any", tokens, false).cost_usd.to_string(), "0.000246");
}

#[test]
fn a_list_is_in_force_from_its_very_moment_on() {
    let moment = TimeDelta::microseconds(1);
    let book = book(
        vec![
            list(2, noon(), vec![model("x", None, 2)]),
            list(1, noon() - TimeDelta::days(9), vec![model("x", None, 1)]),
        ],
        vec![],
    );
    assert_eq!(cost(&book, noon() - moment, "x", "any"), says("1", "global:1"));
    assert_eq!(cost(&book, noon(), "x", "any"), says("2", "global:2"));
    assert_eq!(cost(&book, noon() - TimeDelta::days(10), "x", "any"), says("0", UNPRICED));
}

#[test]
fn a_list_that_was_planned_earlier_comes_into_force_when_its_time_comes() {
    let (hour, day) = (TimeDelta::hours(1), TimeDelta::days(1));
    let book = book(
        vec![
            list(1, noon() - day, vec![model("x", None, 1)]),
            list(2, noon() + day, vec![model("x", None, 2)]),
            list(3, noon(), vec![model("x", None, 3)]),
        ],
        vec![],
    );
    let at = |time| cost(&book, time, "x", "any").1;
    assert_eq!(
        [at(noon() - hour), at(noon() + hour), at(noon() + day)],
        ["global:1", "global:3", "global:2"]
    );
}

#[test]
fn of_two_lists_with_the_same_time_the_newer_counts() {
    let lists = vec![list(8, noon(), vec![model("x", None, 8)]), list(7, noon(), vec![model("x", None, 7)])];
    assert_eq!(cost(&book(lists, vec![]), noon(), "x", "any"), says("8", "global:8"));
}

#[test]
fn a_models_own_price_goes_before_its_vendors_and_a_tenants_before_everybodys() {
    let everybody = vec![model("x", None, 1), model("x", Some("large"), 2), model("y", None, 3)];
    let mut book = book(vec![list(4, noon(), everybody)], vec![]);
    let at = |book: &PriceBook, provider, name| cost(book, noon(), provider, name);
    assert_eq!(at(&book, "x", "small"), says("1", "global:4"));
    assert_eq!(at(&book, "x", "large"), says("2", "global:4"));

    book.tenant = [list(1, noon(), vec![model("x", Some("large"), 9)])].into();
    assert_eq!(at(&book, "x", "large"), says("9", "tenant:1"));
    assert_eq!(at(&book, "x", "small"), says("1", "global:4"));

    // Agreed for all models of the vendor: also for the one that has a price of its own for everybody.
    book.tenant = [list(2, noon(), vec![model("x", None, 5)])].into();
    assert_eq!(at(&book, "x", "large"), says("5", "tenant:2"));
    assert_eq!(at(&book, "y", "any"), says("3", "global:4"));
    let shown: Vec<_> = book
        .at(noon())
        .all()
        .iter()
        .map(|found| (found.price.provider.clone(), found.version_name()))
        .collect();
    assert_eq!(shown, [says("x", "tenant:2"), says("y", "global:4")]);

    // An empty list is the end of the agreement.
    book.tenant = [list(2, noon(), vec![model("x", None, 5)]), list(3, noon(), vec![])].into();
    assert_eq!(at(&book, "x", "large"), says("2", "global:4"));
}

#[test]
fn a_price_stands_as_a_whole() {
    let by_minute = price(PriceKind::Synthesis, "azure", None, &[(Unit::Minute, 1, 2)]);
    let by_character = price(PriceKind::Synthesis, "azure", None, &[(Unit::Character, 1, 3)]);
    let book = book(vec![list(1, noon(), vec![by_minute])], vec![list(1, noon(), vec![by_character])]);
    let work = SpeechWork { kind: SpeechKind::Synthesis, audio_ms: 60_000, characters: 3, estimated: true };
    let metered = book.at(noon()).meter_speech("azure", "hd", work);
    assert_eq!((metered.cost_usd.to_string().as_str(), metered.estimated), ("0.003", true));
}

#[test]
fn each_kind_has_its_own_prices() {
    let prices = vec![
        price(PriceKind::Synthesis, "azure", None, &[(Unit::Minute, 1, 2)]),
        price(PriceKind::Transcription, "local", None, &[(Unit::Minute, 0, 0)]),
    ];
    let book = book(vec![list(1, noon(), prices)], vec![]);
    let heard =
        SpeechWork { kind: SpeechKind::Transcription, audio_ms: 1_000, characters: 3, estimated: false };
    let version = |provider| book.at(noon()).meter_speech(provider, "base.en", heard).price_version;
    assert_eq!((version("azure").as_str(), version("local").as_str()), (UNPRICED, "global:1"));
}

#[test]
fn a_carriers_call_costs_its_minutes_and_each_reply() {
    let carrier = |provider, minute| {
        price(PriceKind::Carrier, provider, None, &[(Unit::Minute, minute, 2), (Unit::Request, 1, 3)])
    };
    let book = book(vec![list(1, noon(), vec![carrier("exotel", 2), carrier("twilio", 0)])], vec![]);
    let prices = book.at(noon());
    assert_eq!(prices.meter_carrier("exotel", 90_000, 4).cost_usd, Decimal::new(34, 3));
    assert_eq!(prices.meter_carrier("twilio", 600_000, 3).cost_usd, Decimal::new(3, 3));
    assert_eq!(prices.meter_carrier("exotel", 1, 0).cost_usd.to_string(), "0.000000333333");
    assert_eq!(prices.meter_carrier("pigeon", 60_000, 1).price_version, UNPRICED);
}

#[test]
fn work_without_a_price_is_recorded_as_unpriced() {
    let metered = PriceBook::default().at(noon()).meter("vendor_z", "any", million(), true);
    assert_eq!((metered.cost_usd, metered.price_version.as_str()), (Decimal::ZERO, UNPRICED));
}
