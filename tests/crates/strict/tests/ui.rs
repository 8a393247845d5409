//! What the compiler says about mistakes. That it says nothing about anything else is for
//! `crates/strict`.

#[test]
fn a1_to_a5_one_mistake_gives_one_message() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
