//! Periods as rotation policies state them: ISO 8601 durations, counted by the calendar in UTC.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::limits::{MAX_PERIOD_DAYS, MAX_PERIOD_TEXT};

const SECONDS_PER_DAY: u64 = 86_400;
/// What a month and a year count for where periods are compared with each other; when one is carried out, the calendar counts.
const DAYS_PER_MONTH: u64 = 30;
const MONTHS_PER_YEAR: u64 = 12;
const DAYS_PER_YEAR: u64 = 365;

/// A period of whole years, months, weeks, days, hours, minutes and seconds, such as `P1Y10D` or `PT48H`. It is not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// As it was given, in capitals.
    text: String,
    years: u64,
    months: u64,
    days: u64,
    seconds: u64,
}

impl Period {
    /// Reads a period. Fractions, signs and units out of order are none, and neither is nothing or more than some centuries.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_PERIOD_TEXT {
            return None;
        }
        let text = text.to_ascii_uppercase();
        let stated = text.strip_prefix('P')?;
        let (date, time) = match stated.split_once('T') {
            Some((_, "")) => return None,
            Some((date, time)) => (date, time),
            None => (stated, ""),
        };
        let [years, months, weeks, days] = numbers(date, ['Y', 'M', 'W', 'D'])?;
        let [hours, minutes, seconds] = numbers(time, ['H', 'M', 'S'])?;
        let period = Self {
            years,
            months,
            days: weeks * 7 + days,
            seconds: hours * 3600 + minutes * 60 + seconds,
            text,
        };
        let length = period.about();
        (length > 0 && length <= MAX_PERIOD_DAYS * SECONDS_PER_DAY).then_some(period)
    }

    /// So many days.
    pub(crate) fn of_days(days: u64) -> Self {
        Self {
            text: format!("P{days}D"),
            years: 0,
            months: 0,
            days,
            seconds: 0,
        }
    }

    /// As it was given, in capitals.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// About how long it is, in seconds: to compare periods with each other.
    pub(crate) const fn about(&self) -> u64 {
        let days = self.years * DAYS_PER_YEAR + self.months * DAYS_PER_MONTH + self.days;
        days * SECONDS_PER_DAY + self.seconds
    }

    /// The second that lies this period after another, in Unix seconds; the last one that can be written if it lies beyond.
    pub(crate) fn after(&self, second: u64) -> u64 {
        self.reckon(second, 1).unwrap_or_else(|| seconds(Timestamp::MAX))
    }

    /// The second that lies this period before another, in Unix seconds; the first one if it lies before that.
    pub(crate) fn before(&self, second: u64) -> u64 {
        self.reckon(second, -1).unwrap_or(0)
    }

    fn reckon(&self, second: u64, direction: i64) -> Option<u64> {
        let signed = |number: u64| i64::try_from(number).ok().map(|number| number * direction);
        let start = Timestamp::from_second(i64::try_from(second).ok()?).ok()?;
        let span = Span::new()
            .try_months(signed(self.years * MONTHS_PER_YEAR + self.months)?)
            .ok()?
            .try_days(signed(self.days)?)
            .ok()?
            .try_seconds(signed(self.seconds)?)
            .ok()?;
        let end = start.to_zoned_datetime(TimeZone::UTC).checked_add(span).ok()?;
        u64::try_from(end.timestamp().as_second()).ok()
    }
}

fn seconds(timestamp: Timestamp) -> u64 {
    u64::try_from(timestamp.as_second()).unwrap_or_default()
}

/// Reads numbers with these units, each at most once, in this order.
fn numbers<const N: usize>(mut text: &str, units: [char; N]) -> Option<[u64; N]> {
    let mut read = [0; N];
    for (number, unit) in read.iter_mut().zip(units) {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = text.split_at_checked(digits)?;
        if let Some(rest) = rest.strip_prefix(unit) {
            // Seven digits at most: nothing that is added up from them overflows.
            *number = digits.parse().ok().filter(|_| digits.len() <= 7)?;
            text = rest;
        }
    }
    text.is_empty().then_some(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = SECONDS_PER_DAY;
    /// 31 January 2024, noon.
    const LAST_OF_JANUARY: u64 = 1_706_702_400;

    #[test]
    fn what_azure_documents_is_read() {
        for (text, about) in [
            ("P90D", 90 * DAY),
            ("P3M", 90 * DAY),
            ("PT48H", 2 * DAY),
            ("P1Y10D", 375 * DAY),
            ("P2Y", 730 * DAY),
            ("P4W", 28 * DAY),
            ("p1dT1h1m1s", DAY + 3661),
            ("P0Y7D", 7 * DAY),
        ] {
            assert_eq!(Period::parse(text).unwrap().about(), about, "{text}");
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "P1",
            "1D",
            "P1DT",
            "P-1D",
            "-P1D",
            "P+1D",
            "P1.5D",
            "P1D1M",
            "P1H",
            "PT1D",
            "P1D ",
            "P0D",
            "PT0S",
            "P99999999D",
            "P9999999Y",
            "P1D1D",
            "PD",
            "P１D",
            "P1YT",
            "90",
            "P1M2M",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    #[test]
    fn months_and_years_go_by_the_calendar() {
        let reckon = |text: &str, from| Period::parse(text).unwrap().after(from);
        assert_eq!(reckon("P1M", LAST_OF_JANUARY), LAST_OF_JANUARY + 29 * DAY);
        assert_eq!(reckon("P1Y", LAST_OF_JANUARY), LAST_OF_JANUARY + 366 * DAY);
        let before = Period::parse("P1M").unwrap().before(LAST_OF_JANUARY);
        assert_eq!(before, LAST_OF_JANUARY - 31 * DAY);
        assert_eq!(Period::parse("P1D").unwrap().before(5), 0);
        assert_eq!(reckon("P1D", u64::MAX), seconds(Timestamp::MAX));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,40}") {
            let _ = Period::parse(&text);
        }

        #[test]
        fn periods_of_days_and_seconds_are_exact_both_ways(
            days in 0_u64..2000, time in 1_u64..100_000, start in 400_000_000_u64..4_000_000_000
        ) {
            let period = Period::parse(&format!("P{days}DT{time}S")).unwrap();
            prop_assert_eq!(period.about(), days * DAY + time);
            prop_assert_eq!(period.after(start), start + period.about());
            prop_assert_eq!(period.before(period.after(start)), start);
        }

        #[test]
        fn a_period_read_from_its_own_text_is_the_same(
            years in 0_u64..9, months in 0_u64..20, weeks in 0_u64..9, days in 0_u64..99, hours in 0_u64..99, seconds in 1_u64..99,
        ) {
            let period = Period::parse(&format!("P{years}Y{months}M{weeks}W{days}DT{hours}H{seconds}S")).unwrap();
            prop_assert_eq!(Period::parse(period.as_str()), Some(period.clone()));
            // The calendar never lies further from the rough length than months of 28 to 31 days allow.
            let spread = (years * 12 + months) * 3 * DAY + DAY;
            let exact = period.after(LAST_OF_JANUARY) - LAST_OF_JANUARY;
            prop_assert!(exact.abs_diff(period.about()) <= spread);
        }
    }
}
