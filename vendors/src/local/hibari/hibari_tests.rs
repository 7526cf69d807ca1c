use super::seed;

#[test]
fn the_seed_of_a_text_never_changes() {
    assert_eq!([seed(""), seed("a")], [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c]);
}
