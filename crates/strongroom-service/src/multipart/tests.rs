use bytes::Bytes;
use futures::stream;
use proptest::prelude::*;

use super::{FormFault, Multipart, PartHead, boundary};
use crate::arriving::BodyFault;
use crate::limits;

const BOUNDARY: &str = "xYzZy";

type Parts = Vec<(PartHead, Vec<u8>)>;

async fn read(body: &[u8], piece: usize) -> Result<Parts, FormFault> {
    let pieces: Vec<_> = body
        .chunks(piece.max(1))
        .map(|piece| Ok::<_, BodyFault>(Bytes::copy_from_slice(piece)))
        .collect();
    let mut form = Multipart::new(stream::iter(pieces), BOUNDARY);
    let mut parts = Vec::new();
    while let Some(head) = form.next_part().await? {
        let mut content = Vec::new();
        while let Some(piece) = form.next_piece().await? {
            content.extend_from_slice(&piece);
        }
        parts.push((head, content));
    }
    Ok(parts)
}

fn now<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[test]
fn parts_come_out_as_they_went_in_however_the_body_is_cut() {
    let tricky = b"\r\n--xYzZ\r\n--xYz\r\r\n-\r\n--\r";
    let body = form(&[
        ("name=\"purpose\"", b"batch"),
        ("name=\"file\"; filename=\"a.txt\"", tricky),
        ("name=\"none\"", b""),
    ]);
    for piece in 1..body.len() {
        let parts = now(read(&body, piece)).unwrap();
        let contents: Vec<_> = parts
            .iter()
            .map(|(head, content)| (head.name.as_str(), content.as_slice()))
            .collect();
        let expected: [(&str, &[u8]); 3] = [("purpose", b"batch"), ("file", tricky), ("none", b"")];
        assert_eq!(contents, expected, "pieces of {piece}");
        assert_eq!(parts[1].0.file_name.as_deref(), Some("a.txt"));
    }
}

#[test]
fn a_preamble_and_padding_after_the_delimiter_are_passed_over() {
    let body = b"hello\r\n--xYzZy \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--xYzZy--";
    let parts = now(read(body, 3)).unwrap();
    assert_eq!(
        parts,
        [(
            PartHead {
                name: "a".to_owned(),
                file_name: None
            },
            b"1".to_vec()
        )]
    );
}

#[test]
fn a_form_that_ends_early_is_told_from_one_that_ends() {
    let body = form(&[("name=\"file\"; filename=\"a\"", b"content")]);
    // Without the line break after the closing delimiter it is whole.
    for length in 0..body.len() - 2 {
        assert_eq!(
            now(read(&body[..length], 7)),
            Err(FormFault::Incomplete),
            "the first {length} bytes"
        );
    }
}

#[test]
fn a_part_whose_head_is_not_one_is_refused() {
    let long = format!(
        "Content-Disposition: form-data; name=\"{}\"",
        "a".repeat(limits::PART_HEAD_BYTES)
    );
    let endless = "x".repeat(limits::PART_HEAD_BYTES * 2);
    for head in [
        "Content-Type: text/plain",
        "Content-Disposition: attachment; name=a",
        "",
        &long,
        &endless,
    ] {
        let body = format!("--{BOUNDARY}\r\n{head}\r\n\r\n1\r\n--{BOUNDARY}--");
        assert_eq!(now(read(body.as_bytes(), 64)), Err(FormFault::Head), "{head:.40}");
    }
    let body = b"--xYzZy\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--xYzZy--";
    assert_eq!(now(read(body, 64)), Err(FormFault::Head));
    assert_eq!(now(read(b"--xYzZyz\r\n\r\n", 64)), Err(FormFault::Head));
}

#[test]
fn more_parts_than_the_limit_are_refused() {
    let parts = vec![("name=\"a\"", b"1".as_slice()); limits::MULTIPART_PARTS + 1];
    assert_eq!(now(read(&form(&parts), 64)), Err(FormFault::TooManyParts));
}

#[test]
fn names_are_read_in_each_way_that_clients_write_them() {
    let cases = [
        ("name=file; filename=plain.txt", "plain.txt"),
        (
            r#"name="file"; filename="with \"quotes\" and \\ in it""#,
            r#"with "quotes" and \ in it"#,
        ),
        (r#"name="file"; filename="C:\dir\file.txt""#, r"C:\dir\file.txt"),
        (r#"name="file"; filename="percent%22quote""#, "percent\"quote"),
        (r#"name="file"; filename="../../etc/passwd""#, "../../etc/passwd"),
        (r#"name="file"; filename="semi;colon=1""#, "semi;colon=1"),
        (r#"name="file"; filename="naïve ☃.txt""#, "naïve ☃.txt"),
        (
            r#"filename="x"; filename*=UTF-8''na%C3%AFve; name="file""#,
            "naïve",
        ),
    ];
    for (disposition, expected) in cases {
        let parts = now(read(&form(&[(disposition, b"1")]), 16)).unwrap();
        let head = &parts[0].0;
        assert_eq!(
            (head.name.as_str(), head.file_name.as_deref()),
            ("file", Some(expected)),
            "{disposition}"
        );
    }
}

#[test]
fn the_boundary_comes_from_the_content_type() {
    let read = |text: &str| boundary(text).map(Result::ok);
    assert_eq!(
        read("multipart/form-data; boundary=abc"),
        Some(Some("abc".to_owned()))
    );
    assert_eq!(
        read("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""),
        Some(Some("a b".to_owned()))
    );
    assert_eq!(read("multipart/form-data"), Some(None));
    assert_eq!(read("multipart/form-data; boundary="), Some(None));
    assert_eq!(
        read(&format!("multipart/form-data; boundary={}", "a".repeat(71))),
        Some(None)
    );
    assert_eq!(read("application/json"), None);
}

#[test]
fn a_fault_of_the_body_is_passed_on() {
    let pieces = [Ok(Bytes::from_static(b"--xYzZy\r\n")), Err(BodyFault::Stalled)];
    let mut form = Multipart::new(stream::iter(pieces), BOUNDARY);
    assert_eq!(now(form.next_part()), Err(FormFault::Body(BodyFault::Stalled)));
}

proptest! {
    #[test]
    fn any_content_comes_out_as_it_went_in(
        content in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\r'), 1 => Just(b'\n'), 1 => Just(b'-')], 0..400),
        piece in 1_usize..100,
    ) {
        // A content that carries the delimiter itself is the one that no client may send.
        prop_assume!(memchr::memmem::find(&content, b"\r\n--xYzZy").is_none());
        let body = form(&[("name=\"file\"; filename=\"f\"", &content), ("name=\"purpose\"", b"batch")]);
        let parts = now(read(&body, piece)).unwrap();
        prop_assert_eq!(&parts[0].1, &content);
        prop_assert_eq!(&parts[1].1, b"batch");
    }

    #[test]
    fn no_body_makes_the_reader_fall_over(body in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let _ = now(read(&body, piece));
        let mut begun = b"--xYzZy\r\nContent-Disposition: ".to_vec();
        begun.extend_from_slice(&body);
        let _ = now(read(&begun, piece));
    }
}
