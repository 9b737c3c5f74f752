//! Resource Graph queries: any text is taken or refused, without deep recursion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_control::syntax::check_query;

fuzz_target!(|text: &str| {
    if check_query(text).is_ok() && text.len() < 1024 && !text.contains(['/', ';']) {
        assert!(check_query(&format!("{text} | count")).is_ok() || text.matches('|').count() > 32);
    }
});
