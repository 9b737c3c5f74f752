//! What must not compile.

#[test]
fn nobody_but_the_authority_makes_a_permit_and_nobody_but_the_store_an_authority() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
