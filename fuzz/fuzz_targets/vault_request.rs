//! Requests to the embedded vault: a first line with method and path, and a body. Whatever comes is read or refused; what is
//! read has only the characters that names and versions have, and a page's mark leads to that page.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_vault::conformance::read_request;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let Some((method, target)) = std::str::from_utf8(head)
        .ok()
        .and_then(|head| head.split_once(' '))
    else {
        return;
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let body = body.get(1..).unwrap_or_default();
    let Some(read) = read_request(method, path, query, body) else {
        return;
    };
    assert!(read.name.len() <= 127);
    assert!(
        read.name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    );
    let version = read.version.unwrap_or_default();
    assert!(version.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if let Some(next) = read.next {
        let following = read_request(method, path, Some(&next), body).expect("the path is the same");
        assert_eq!(following.after, read.after);
    }
});
