use proptest::prelude::*;

use super::*;

fn holds(filter: &str) -> bool {
    Filter::parse(filter).unwrap().holds(&|name: &str| match name {
        "name" => Some("O'Neil".to_owned()),
        "resourceType" => Some("Microsoft.KeyVault/vaults".to_owned()),
        _ => None,
    })
}

#[test]
fn filters_that_clients_send_hold_where_they_should() {
    assert!(holds(
        "resourceType eq 'microsoft.keyvault/VAULTS' and name eq 'o''neil'"
    ));
    assert!(!holds("resourceType eq 'a/b' or name eq 'x'"));
    assert!(holds("not (name eq 'x') and startswith(name,'O')"));
    assert!(holds("substringof('neil', name)"));
    assert!(holds("other ne 'x'") && !holds("other eq 'x'"));
    let time = Filter::parse("eventTimestamp ge 2026-11-23T13:10:42.5 and atScope() and a eq 'b'").unwrap();
    assert_eq!(
        time.required("EventTimestamp", Comparison::Ge),
        Some("2026-11-23T13:10:42.5")
    );
    assert!(time.at_scope());
}

#[test]
fn lists_are_searched_and_values_looked_up_in_lists() {
    let holds = |filter: &str| {
        let value = |name: &str| (name == "id").then(|| "B".to_owned());
        let list = |name: &str| match name {
            "names" => vec!["a".to_owned(), "https://X/y".to_owned()],
            _ => Vec::new(),
        };
        Filter::parse(filter).unwrap().holds_with(&value, &list)
    };
    assert!(holds("names/any(c:c eq 'https://x/Y')"));
    assert!(holds("names/any(c: c eq 'a') and id in ('x', 'b')"));
    assert!(!holds("names/any(c:c eq 'b')") && !holds("other/any(c:c ne 'b')"));
    assert!(!holds("id in ('x')") && !holds("other in ('b')"));
    for text in [
        "names/any(c eq 'a')",
        "names/any(c:d eq 'a')",
        "names/any(:eq 'a')",
        "names/any(c:c eq 'a'",
        "id in ()",
        "id in 'a'",
        "assignedTo()",
        "atScopeAndBelow('a')",
    ] {
        assert!(
            matches!(Filter::parse(text), Err(FilterError::Unexpected(_))),
            "{text}"
        );
    }
    let all = Filter::parse("atScope() and assignedTo('p') and (a eq '1' and b eq '2')").unwrap();
    assert_eq!(all.conditions().len(), 4);
    assert_eq!(all.conditions().first(), Some(&&Filter::AtScope));
}

#[test]
fn what_an_alternative_says_is_not_required() {
    let filter = Filter::parse("a eq '1' or b eq '2'").unwrap();
    assert_eq!(filter.required("a", Comparison::Eq), None);
}

#[test]
fn other_texts_are_refused_with_where() {
    for text in [
        "",
        "a",
        "a eq",
        "a is 'b'",
        "a eq 'b' and",
        "(a eq 'b'",
        "f(a,'b')",
        "a eq 'b' c",
    ] {
        assert!(
            matches!(Filter::parse(text), Err(FilterError::Unexpected(_))),
            "{text}"
        );
    }
    assert_eq!(Filter::parse("a eq 'b"), Err(FilterError::OpenText));
    assert_eq!(Filter::parse(&"(".repeat(100)), Err(FilterError::TooDeep));
    assert_eq!(Filter::parse(&"not ".repeat(100)), Err(FilterError::TooDeep));
    assert_eq!(Filter::parse(&" ".repeat(FILTER + 1)), Err(FilterError::TooLong));
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
        let text = words.concat();
        if let Ok(filter) = Filter::parse(&text) {
            let list = |name: &str| vec![name.to_owned()];
            filter.holds_with(&|name: &str| Some(name.to_owned()), &list);
            prop_assert!(!filter.conditions().is_empty());
        }
    }
}

const WORDS: &[&str] = &[
    "a",
    "b/any(",
    "x:x",
    "x:",
    " x",
    " eq ",
    " in ",
    "'v'",
    "'",
    "(",
    ")",
    ",",
    " and ",
    " or ",
    "not ",
    "atScope()",
    "assignedTo('p')",
    "startswith(a,'v')",
    " ",
];
