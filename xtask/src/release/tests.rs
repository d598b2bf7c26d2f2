//! Tests of the check that a binary is static.

use super::asks_for_a_loader;

#[test]
fn this_test_is_not_static_and_rubbish_is_not_taken_for_static() {
    let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(asks_for_a_loader(&this));
    assert!(asks_for_a_loader(b"\x7fELF"));
    // No program headers at all: nothing asks for a loader.
    assert!(!asks_for_a_loader(&[0; 64]));
}
