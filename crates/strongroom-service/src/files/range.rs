//! `Range` of RFC 9110, for one range of bytes.

use std::ops::Range;

/// What a `Range` header asks of content of some length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: there is no header, or one that may be passed over (another unit, several ranges).
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that there is, or nothing that can be understood.
    Outside,
}

/// Reads the header's value.
pub(super) fn asked(header: Option<&[u8]>, length: u64) -> Asked {
    let Some(header) = header else { return Asked::Whole };
    let Ok(text) = std::str::from_utf8(header) else {
        return Asked::Outside;
    };
    let Some((unit, ranges)) = text.split_once('=') else {
        return Asked::Outside;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Asked::Whole;
    }
    match part(ranges.trim(), length) {
        Some(part) if part.start < part.end => Asked::Part(part),
        _ => Asked::Outside,
    }
}

fn part(range: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = range.split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", suffix) => Some(length.saturating_sub(number(suffix)?)..length),
        (first, "") => Some(number(first)?..length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first..last.saturating_add(1).min(length))
        }
    }
}

/// Digits alone: no sign, no space. More than fits is simply very far.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Asked, asked};

    fn of_ten(header: &str) -> Asked {
        asked(Some(header.as_bytes()), 10)
    }

    #[test]
    fn each_form_of_a_range_selects_its_bytes() {
        assert_eq!(asked(None, 10), Asked::Whole);
        assert_eq!(of_ten("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(of_ten("bytes=2-5"), Asked::Part(2..6));
        assert_eq!(of_ten("bytes=7-"), Asked::Part(7..10));
        assert_eq!(of_ten("bytes=-3"), Asked::Part(7..10));
        assert_eq!(of_ten("bytes=-300"), Asked::Part(0..10));
        assert_eq!(of_ten("bytes=5-99999999999999999999999"), Asked::Part(5..10));
        assert_eq!(of_ten("Bytes = 1-2"), Asked::Part(1..3));
    }

    #[test]
    fn a_range_outside_or_malformed_is_neither_whole_nor_part() {
        for header in [
            "bytes=10-",
            "bytes=11-12",
            "bytes=-0",
            "bytes=5-2",
            "bytes=",
            "bytes=a-b",
            "bytes",
            "bytes=+1-2",
            "bytes=1",
        ] {
            assert_eq!(of_ten(header), Asked::Outside, "{header}");
        }
        assert_eq!(asked(Some(b"bytes=0-"), 0), Asked::Outside);
        assert_eq!(asked(Some(b"bytes=\xff-"), 10), Asked::Outside);
    }

    #[test]
    fn other_units_and_several_ranges_are_passed_over() {
        assert_eq!(of_ten("lines=1-2"), Asked::Whole);
        assert_eq!(of_ten("bytes=0-1,3-4"), Asked::Whole);
    }
}
