//! When a request is sent again, and how long the wait before it is. None of the clouds has an idempotency key, so the
//! question is always the same: could the first one have had an effect?

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Limits of one call, all tries and waits together.
#[derive(Debug, Clone)]
pub struct Policy {
    /// One try, from the connection to the last byte.
    pub one_try: Duration,
    /// The whole call. A wait that would end later is not begun: the caller hears when to come back.
    pub overall: Duration,
    /// Tries, the first included.
    pub tries: usize,
    /// The wait before the second try; it doubles, with jitter.
    pub first_wait: Duration,
    /// The longest such wait.
    pub longest_wait: Duration,
    /// A `RateLimit-Reset` names the time when the whole quota is back, which can be an hour off while single requests
    /// are let through every second; without a `Retry-After` no wait is longer than this.
    pub longest_reset: Duration,
    /// Bytes of an answer; a longer one is not read to its end.
    pub longest_answer: usize,
    /// Nothing that could have an effect is sent: what a drill looks at it must not be able to change, whatever goes wrong.
    pub looks_only: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            one_try: Duration::from_secs(30),
            overall: Duration::from_secs(90),
            tries: 6,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(8),
            longest_reset: Duration::from_secs(15),
            longest_answer: 8 << 20,
            looks_only: false,
        }
    }
}

impl Policy {
    pub(super) fn backoff(&self) -> backon::ExponentialBuilder {
        backon::ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_max_times(self.tries.saturating_sub(1))
            .with_jitter()
    }
}

/// Whether sending the request twice does what sending it once does (RFC 9110, 9.2.2). POST and PATCH do not.
pub(super) fn repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

/// Whether it can have an effect at all (RFC 9110, 9.2.1).
pub(super) fn changing(method: &Method) -> bool {
    !method.is_safe()
}

/// No service is left alone for longer than this on its own word: a number without measure would be no wait, but an end.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 60 * 60);

/// What the service asked for (a day at most), and how long we would wait for it before a next try. Headers are read on 429 and 503
/// only: one of the clouds has been seen to send `Retry-After` with good answers.
pub(super) fn asked_to_wait(
    status: u16,
    headers: &HeaderMap,
    longest_reset: Duration,
) -> Option<(Duration, Duration)> {
    if !matches!(status, 429 | 503) {
        return None;
    }
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::trim)
    };
    // Compared with the service's own clock where it tells it: ours may be wrong on such a night.
    let now = text(DATE.as_str())
        .and_then(http_date)
        .unwrap_or_else(Timestamp::now);
    if let Some(value) = text(RETRY_AFTER.as_str()) {
        let wait = match value.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => http_date(value).map(|at| until(now, at)),
        };
        if let Some(wait) = wait.map(|wait| wait.min(LONGEST_ASKED)) {
            return Some((wait, wait));
        }
    }
    let reset = text("ratelimit-reset").or_else(|| text("x-ratelimit-reset"))?;
    let seconds: i64 = reset.parse().ok()?;
    // Some send a moment, some the seconds until it.
    let wait = if seconds > 1_000_000_000 {
        until(now, Timestamp::from_second(seconds).ok()?)
    } else {
        Duration::from_secs(u64::try_from(seconds).ok()?)
    }
    .min(LONGEST_ASKED);
    Some((wait, wait.min(longest_reset)))
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    let (now, then) = (SystemTime::from(now), SystemTime::from(then));
    then.duration_since(now).unwrap_or(Duration::ZERO)
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    reqwest::header::HeaderName::from_static(name),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_retry_after_counts_only_where_the_service_says_slow_down() {
        let asked = headers(&[("retry-after", "7")]);
        let wait = |status| {
            asked_to_wait(status, &asked, Duration::from_secs(15)).map(|(wait, _)| wait.as_secs())
        };
        assert_eq!(wait(429), Some(7));
        assert_eq!(wait(503), Some(7));
        assert_eq!(wait(200), None);
        assert_eq!(wait(500), None);
    }

    #[test]
    fn a_date_is_read_against_the_clock_of_the_service() {
        let asked = headers(&[
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
        ]);
        let (wait, _) = asked_to_wait(503, &asked, Duration::from_secs(15)).unwrap();
        assert_eq!(wait.as_secs(), 30);
    }

    #[test]
    fn nobody_is_left_alone_for_longer_than_a_day() {
        let date = ("date", "Sun, 09 Sep 2001 01:46:40 GMT");
        for asked in [
            ("retry-after", "18446744073709551615"),
            ("retry-after", "Thu, 30 Dec 9999 00:00:00 GMT"),
            ("ratelimit-reset", "253402207200"),
            ("ratelimit-reset", "999999999"),
        ] {
            let (told, _) =
                asked_to_wait(429, &headers(&[date, asked]), Duration::from_secs(15)).unwrap();
            assert_eq!(told.as_secs(), 24 * 60 * 60, "{asked:?}");
        }
        // What is no number that anybody can hold asks for nothing.
        for asked in [
            ("retry-after", "18446744073709551616"),
            ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
            ("ratelimit-reset", "9223372036854775807"),
        ] {
            let none = asked_to_wait(429, &headers(&[date, asked]), Duration::from_secs(15));
            assert_eq!(none, None, "{asked:?}");
        }
    }

    #[test]
    fn the_end_of_a_quota_window_is_told_whole_but_waited_for_only_a_little() {
        let asked = headers(&[
            ("date", "Sun, 09 Sep 2001 01:46:40 GMT"),
            ("ratelimit-reset", "1000003600"),
        ]);
        let (told, waited) = asked_to_wait(429, &asked, Duration::from_secs(15)).unwrap();
        assert_eq!((told.as_secs(), waited.as_secs()), (3600, 15));
    }

    #[test]
    fn a_post_is_never_repeatable() {
        assert!(!repeatable(&Method::POST) && !repeatable(&Method::PATCH));
        assert!(
            repeatable(&Method::GET) && repeatable(&Method::DELETE) && repeatable(&Method::PUT)
        );
        assert!(changing(&Method::DELETE) && !changing(&Method::GET));
    }
}
