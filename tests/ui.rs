//! What the compiler says about mistakes, and that it says nothing about anything else.

#[test]
fn a1_to_a5_one_mistake_gives_one_message() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

#[test]
fn a4_expansions_pass_the_strictest_lints() {
    trybuild::TestCases::new().pass("tests/ui/pass/*.rs");
}
