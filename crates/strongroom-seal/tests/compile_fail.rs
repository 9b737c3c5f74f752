//! What must not compile: printing, copying or comparing key material.

#[test]
fn key_material_cannot_be_printed_copied_or_compared() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
