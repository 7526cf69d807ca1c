//! What was done, and what it costs by a price: exact, rounded once.

use events::call::SpeechKind;
use events::prices::{Price, PriceKind, Rate, Unit};
use rust_decimal::Decimal;

/// Costs are kept to this many decimals of a dollar, rounded once, half away from zero.
pub const COST_SCALE: u32 = 12;

/// The tokens of one request to a language model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All that the model was told.
    pub input: u64,
    /// Of these, the ones that the vendor had kept from a request before.
    pub cached: u64,
    pub output: u64,
}

/// What a speech vendor did in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeechWork {
    pub kind: SpeechKind,
    /// Heard or made.
    pub audio_ms: u64,
    /// Of the text.
    pub characters: u64,
    /// The vendor did not say how much it was; counted by us.
    pub estimated: bool,
}

/// All that a price can count of what a vendor did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub tokens: Tokens,
    /// Of audio, or of a call.
    pub audio_ms: u64,
    pub characters: u64,
    pub requests: u64,
}

/// A request without a token was never answered, and is none that a vendor would charge.
impl From<Tokens> for Work {
    fn from(tokens: Tokens) -> Self {
        Self { tokens, requests: u64::from(tokens.input > 0 || tokens.output > 0), ..Self::default() }
    }
}

impl From<SpeechWork> for Work {
    fn from(SpeechWork { audio_ms, characters, .. }: SpeechWork) -> Self {
        Self { audio_ms, characters, requests: 1, ..Self::default() }
    }
}

pub(crate) fn price_kind(kind: SpeechKind) -> PriceKind {
    match kind {
        SpeechKind::Transcription => PriceKind::Transcription,
        SpeechKind::Synthesis => PriceKind::Synthesis,
    }
}

const MS_PER_SECOND: u128 = 1_000;
const MS_PER_MINUTE: u128 = 60_000;
/// The least number that every divisor of a rate divides: a million minutes, in milliseconds. What is left of all rates
/// is added up over it, so that one division rounds.
const COMMON: u128 = 60_000_000_000;
/// The largest mantissa of a [`Decimal`].
const MOST: u128 = (1 << 96) - 1;

impl Work {
    /// The exact cost, rounded once and without trailing zeros. More than all the money there is (7.9e16) is cut to that.
    pub fn cost(&self, price: &Price) -> Decimal {
        let keeps = price.rates.iter().any(|rate| rate.unit == Unit::CachedInput);
        let (mut whole, mut parts) = (0_u128, 0_u128);
        for rate in &price.rates {
            let (count, units_per_count) = self.counted(rate.unit, keeps);
            let divisor = units_per_count * u128::from(rate.per.count());
            // At most 2^64 times a million dollars in trillionths: below 2^127.
            let product = u128::from(count).saturating_mul(trillionths(rate));
            whole = whole.saturating_add(product / divisor);
            parts += product % divisor * (COMMON / divisor);
        }
        let rounded = whole.saturating_add((2 * parts + COMMON) / (2 * COMMON)).min(MOST);
        Decimal::try_from_i128_with_scale(rounded.cast_signed(), COST_SCALE)
            .unwrap_or(Decimal::MAX)
            .normalize()
    }

    /// How much of `unit` was done, and how many of what was counted make one. `keeps`: kept tokens have a rate of
    /// their own.
    fn counted(&self, unit: Unit, keeps: bool) -> (u64, u128) {
        let Tokens { input, cached, output } = self.tokens;
        let cached = cached.min(input);
        match unit {
            Unit::Input if keeps => (input - cached, 1),
            Unit::Input => (input, 1),
            Unit::CachedInput => (cached, 1),
            Unit::Output => (output, 1),
            Unit::Second => (self.audio_ms, MS_PER_SECOND),
            Unit::Minute => (self.audio_ms, MS_PER_MINUTE),
            Unit::Character => (self.characters, 1),
            Unit::Request => (self.requests, 1),
        }
    }
}

/// A rate's dollars in trillionths, which it has no more decimals than.
fn trillionths(rate: &Rate) -> u128 {
    let mut usd = rate.usd;
    usd.rescale(COST_SCALE);
    u128::try_from(usd.mantissa()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use events::prices::Per;
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use proptest::prelude::*;

    use super::*;

    const UNITS: [Unit; 7] = [
        Unit::Input,
        Unit::CachedInput,
        Unit::Output,
        Unit::Second,
        Unit::Minute,
        Unit::Character,
        Unit::Request,
    ];

    fn price(rates: Vec<Rate>) -> Price {
        Price { kind: PriceKind::Model, provider: "x".to_owned(), model: None, rates }
    }

    /// What `work` costs, by numbers of any size: as a fraction, and in trillionths of a dollar as they are rounded.
    fn by_rationals(price: &Price, work: &Work) -> BigInt {
        let whole = |number: u64| BigRational::from(BigInt::from(number));
        let kept = price.rates.iter().any(|rate| rate.unit == Unit::CachedInput);
        let Tokens { input, cached, output } = work.tokens;
        let cached = cached.min(input);
        let mut sum = BigRational::from(BigInt::from(0));
        for rate in &price.rates {
            let count = match rate.unit {
                Unit::Input => whole(if kept { input - cached } else { input }),
                Unit::CachedInput => whole(cached),
                Unit::Output => whole(output),
                Unit::Second => whole(work.audio_ms) / whole(1_000),
                Unit::Minute => whole(work.audio_ms) / whole(60_000),
                Unit::Character => whole(work.characters),
                Unit::Request => whole(work.requests),
            };
            let usd = BigRational::new(rate.usd.mantissa().into(), BigInt::from(10).pow(rate.usd.scale()));
            sum += count * usd / whole(rate.per.count().into());
        }
        // num-rational rounds half away from zero.
        (sum * BigRational::from(BigInt::from(10).pow(COST_SCALE))).round().to_integer()
    }

    fn in_trillionths(mut cost: Decimal) -> BigInt {
        cost.rescale(COST_SCALE);
        cost.mantissa().into()
    }

    fn rates() -> impl Strategy<Value = Vec<Rate>> {
        let per = prop::sample::select(vec![Per::One, Per::Thousand, Per::Million]);
        let usd = (0..=1_000_000_000_000_000_000_i128, 0..=COST_SCALE).prop_map(|(mantissa, scale)| {
            Decimal::from_i128_with_scale(mantissa % 10_i128.pow(6 + scale), scale)
        });
        let units = prop::sample::subsequence(UNITS.to_vec(), 1..=UNITS.len());
        (units, prop::collection::vec((usd, per), UNITS.len())).prop_map(|(units, rates)| {
            units.into_iter().zip(rates).map(|(unit, (usd, per))| Rate { unit, usd, per }).collect()
        })
    }

    fn works(most: u64) -> impl Strategy<Value = Work> {
        let count = move || prop_oneof![0..100_u64, 0..=most];
        (count(), count(), count(), count(), count(), count()).prop_map(
            |(input, cached, output, audio_ms, characters, requests)| Work {
                tokens: Tokens { input, cached, output },
                audio_ms,
                characters,
                requests,
            },
        )
    }

    proptest! {
        #[test]
        fn the_cost_is_what_fractions_give(rates in rates(), work in works(1_000_000_000)) {
            let price = price(rates);
            prop_assert_eq!(in_trillionths(work.cost(&price)), by_rationals(&price, &work));
        }

        /// Also where it is more than a decimal can hold.
        #[test]
        fn no_work_is_too_much(rates in rates(), work in works(u64::MAX)) {
            let price = price(rates);
            let most = BigInt::from(MOST);
            prop_assert_eq!(in_trillionths(work.cost(&price)), by_rationals(&price, &work).min(most));
        }
    }

    fn rate(unit: Unit, usd: &str, per: Per) -> Rate {
        Rate { unit, usd: Decimal::from_str_exact(usd).unwrap(), per }
    }

    fn cost(rates: &[Rate], work: Work) -> String {
        work.cost(&price(rates.to_vec())).to_string()
    }

    #[test]
    fn rounding_happens_once_half_away_from_zero_at_twelve_decimals() {
        // One and a half millionths of a dollar for a million tokens.
        let rates = [rate(Unit::Input, "0.0000015", Per::Million)];
        let told = |input| Work::from(Tokens { input, ..Tokens::default() });
        assert_eq!(cost(&rates, told(1)), "0.000000000002");
        assert_eq!(cost(&rates, told(3)), "0.000000000005");
        assert_eq!(cost(&rates, told(0)), "0");
    }

    #[test]
    fn the_parts_of_a_price_are_added_before_anything_is_rounded() {
        // A third of a trillionth for the millisecond, and for the character: together two thirds.
        let rates = [
            rate(Unit::Minute, "0.00000002", Per::One),
            rate(Unit::Character, "0.000000333333", Per::Million),
        ];
        let work = Work { audio_ms: 1, characters: 1, ..Work::default() };
        assert_eq!(cost(&rates, work), "0.000000000001");
        assert_eq!(cost(&rates, Work { characters: 0, ..work }), "0");
    }

    #[test]
    fn kept_tokens_cost_their_own_rate_and_without_one_what_others_cost() {
        let told = Work::from(Tokens { input: 1_000, cached: 400, output: 10 });
        let own = [
            rate(Unit::Input, "2", Per::Million),
            rate(Unit::CachedInput, "0.5", Per::Million),
            rate(Unit::Output, "8", Per::Million),
        ];
        assert_eq!(cost(&own, told), "0.00148");
        assert_eq!(cost(&[own[0].clone(), own[2].clone()], told), "0.00208");
    }

    #[test]
    fn seconds_and_minutes_count_by_their_parts() {
        let spoken = |audio_ms| Work { audio_ms, ..Work::default() };
        let minute = [rate(Unit::Minute, "0.01", Per::One)];
        assert_eq!(cost(&minute, spoken(90_000)), "0.015");
        assert_eq!(cost(&minute, spoken(1)), "0.000000166667");
        assert_eq!(cost(&[rate(Unit::Second, "0.5", Per::Thousand)], spoken(1_500)), "0.00075");
    }

    #[test]
    fn a_request_that_nobody_answered_is_not_charged() {
        let each = [rate(Unit::Request, "0.001", Per::One)];
        assert_eq!(cost(&each, Tokens::default().into()), "0");
        assert_eq!(cost(&each, Tokens { input: 1, ..Tokens::default() }.into()), "0.001");
    }
}
