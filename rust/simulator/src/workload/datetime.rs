//! Dates with times, as traces write them.

/// Nanoseconds since 1970 of `YYYY-MM-DD hh:mm:ss[.fraction][zone]`; `T` may be in place of the space, a zone is `Z` or
/// `+hh:mm`. None if it is anything else.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b' ' | b'T') {
        return None;
    }
    let (clock, zone_s) = match rest.find(['Z', '+', '-']) {
        Some(at) => (&rest[..at], zone_seconds(&rest[at..])?),
        None => (rest, 0),
    };
    let mut date = date.split('-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = whole.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let right = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !right || parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i128 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone_s;
    Some(i128::from(seconds) * 1_000_000_000 + nanoseconds)
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone[1..].split_once(':').unwrap_or((&zone[1..], "00"));
    Some(sign * (number(hours)? * 3_600 + number(minutes)? * 60))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse("1970-01-01 00:00:00"), Some(0));
        assert_eq!(parse("2023-11-16 18:15:46.6805900"), Some(1_700_158_546_680_590_000));
        assert_eq!(parse("2024-05-10T00:00:00.009930+00:00"), Some(1_715_299_200_009_930_000));
        assert_eq!(parse("2024-02-29 23:59:59Z"), Some(1_709_251_199_000_000_000));
        assert_eq!(parse("2024-02-29 23:59:59+01:00"), Some(1_709_247_599_000_000_000));
        for wrong in ["", "2023-11-16", "2023-13-16 18:15:46", "2023-11-16 25:00:00", "17.5", "2023-11-16 18:15:46."] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
