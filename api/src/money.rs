//! Money in answers: USD as a decimal in a JSON string, without trailing zeros.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// Written such as `"0.000246"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, example = "0.000246")]
pub(crate) struct Usd(pub Decimal);

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.normalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_a_string_without_trailing_zeros() {
        for (amount, written) in
            [("0.000246000000", "\"0.000246\""), ("0.000", "\"0\""), ("12.50", "\"12.5\"")]
        {
            assert_eq!(serde_json::to_string(&Usd(amount.parse().unwrap())).unwrap(), written);
        }
    }
}
