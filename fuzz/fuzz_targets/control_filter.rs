//! Filters of lists: any text is taken or refused, without deep recursion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_control::syntax::check_filter;

fuzz_target!(|text: &str| {
    if check_filter(text).is_ok() {
        assert!(check_filter(&format!("({text}) and not ({text})")).is_ok() || text.len() > 1024 || text.contains('('));
    }
});
