//! Times as Resource Manager writes and reads them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use strongroom_seal::Clock;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now().wall.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-25T12:00:00.1230000Z`: of one length, so that text order is time order.
pub(crate) fn text(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    fixed(time)
}

/// The same for a time as clients write it; without a zone it is in UTC.
pub(crate) fn normal(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(fixed(time));
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok().map(fixed)
}

/// A time as text, in milliseconds since the Unix epoch.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    Some(text.parse::<Timestamp>().ok()?.as_millisecond())
}

fn fixed(time: Timestamp) -> String {
    let fraction = time.subsec_nanosecond().unsigned_abs() / 100;
    format!("{}.{fraction:07}Z", time.strftime("%Y-%m-%dT%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_clients_become_texts_of_one_length() {
        assert_eq!(
            normal("2026-11-23T13:10:42.534772").unwrap(),
            "2026-11-23T13:10:42.5347720Z"
        );
        assert_eq!(
            normal("2026-11-23T13:10:42Z").unwrap(),
            "2026-11-23T13:10:42.0000000Z"
        );
        assert_eq!(
            normal("2026-11-23T15:10:42+02:00").unwrap(),
            "2026-11-23T13:10:42.0000000Z"
        );
        assert_eq!(normal("2026-11-23").unwrap(), "2026-11-23T00:00:00.0000000Z");
        assert_eq!(normal("yesterday"), None);
        assert_eq!(text(1_000), "1970-01-01T00:00:01.0000000Z");
    }
}
