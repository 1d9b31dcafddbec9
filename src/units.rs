//! Durations and sizes as people write them: `90s`, `1h30m`, `4GiB`, `500MB`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text is no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("`{0}` is not a duration: write it like `90s`, `15m` or `1h30m`")]
    Duration(String),
    /// Below zero, or zero where time must pass.
    #[error("`{0}` is not a positive duration")]
    Negative(String),
    /// Longer than any moment can be moved by.
    #[error("`{0}` is too long: a hundred years (876000h) are the most")]
    TooLong(String),
    /// Not a size.
    #[error("`{0}` is not a size: write it like `500MB` or `4GiB`")]
    Size(String),
}

/// A span of time of at least zero, written `90s`, `15m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// So long a span may be: whatever moment it is added to, the sum is a moment too.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Span {
    /// Reads hours, minutes, seconds and smaller; days and months have no fixed length, so write `24h`.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Duration(text.to_string());
        let span: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
        // `P1D`-style texts are ISO 8601 and not what the format promises.
        if !text
            .trim()
            .starts_with(|c: char| c.is_ascii_digit() || c == '-')
        {
            return Err(wrong());
        }
        let span = Duration::try_from(span).map_err(|_| UnitError::Negative(text.to_string()))?;
        match span > LONGEST {
            true => Err(UnitError::TooLong(text.to_string())),
            false => Ok(Self(span)),
        }
    }
}

/// One side of a connection as people write it: `smtp.example:25`, `192.0.2.7:443`, `[2001:db8::1]:443`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl Socket {
    /// Reads `host:port`; says what is wrong otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is no `host:port`: {why}");
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| wrong("it has no port"))?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| wrong("a port is a number from 1 to 65535"))?;
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match inner {
            Some(inner) => match inner.parse::<std::net::Ipv6Addr>() {
                Ok(address) => address.to_string(),
                Err(_) => return Err(wrong("between the brackets stands no IPv6 address")),
            },
            None => host.to_string(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || inner.is_none() && !host.chars().all(plain) {
            return Err(wrong("its host is neither a name nor an address"));
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        Self::parse(&text)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration(self.0))
    }
}

/// How far a moment lies from the loss: `4.7s before the loss`, `9s AFTER the loss`.
pub fn beside(at: jiff::Timestamp, lost_at: jiff::Timestamp) -> String {
    let apart = at.duration_since(lost_at);
    let length = duration(apart.unsigned_abs());
    match apart.is_positive() {
        true => format!("{length} AFTER the loss"),
        false => format!("{length} before the loss"),
    }
}

/// The same where nothing is lost: `4.7s old`, `9s in the FUTURE`.
pub fn old(at: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let apart = at.duration_since(now);
    let length = duration(apart.unsigned_abs());
    match apart.is_positive() {
        true => format!("{length} in the FUTURE"),
        false => format!("{length} old"),
    }
}

/// `1h 02m 03s`, `4m 05s`, `12.3s`, `45ms`: the two or three figures that matter.
pub fn duration(time: Duration) -> String {
    let whole = time.as_secs();
    let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
    match () {
        () if h > 0 => format!("{h}h{m:02}m{s:02}s"),
        () if m > 0 => format!("{m}m{s:02}s"),
        () if whole >= 10 || (whole > 0 && time.subsec_millis() == 0) => format!("{s}s"),
        () if whole > 0 => format!("{:.1}s", time.as_secs_f64()),
        () => format!("{}ms", time.as_millis()),
    }
}

/// An age in words a tired person can take in: `7s`, `12m`, `3h20m`, `2d4h`.
pub fn age(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// A number of bytes, written `4GiB`, `500MB`, `512`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl Size {
    /// Reads a whole or decimal number with an optional SI (`kB MB GB TB`) or IEC (`KiB MiB GiB TiB`) unit.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Size(text.to_string());
        let text = text.trim();
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let number: f64 = text[..end].parse().map_err(|_| wrong())?;
        let factor: f64 = match text[end..].trim() {
            "" | "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "TB" => 1e12,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            "TiB" => 1_099_511_627_776.0,
            _ => return Err(wrong()),
        };
        let bytes = number * factor;
        if !bytes.is_finite() || bytes > 9e18 {
            return Err(wrong());
        }
        Ok(Self(bytes.round() as u64))
    }
}

impl TryFrom<String> for Size {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        Self::parse(&text)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.0.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bytes(self.0))
    }
}

/// `3.2 MiB`: a size for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "dr-duration", "description": "A duration such as 90s, 15m, 1h30m." })
    }
}

impl schemars::JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "dr-size", "description": "A size such as 500MB or 4GiB." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let seconds = |text| Span::parse(text).map(|s| s.0.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("876000h"), Ok(3_153_600_000));
        for wrong in [
            "90",
            "",
            "-5s",
            "1 day",
            "soon",
            "PT5S",
            "876001h",
            "900000000000h",
        ] {
            assert!(Span::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_know_the_two_families_of_units() {
        assert_eq!(Size::parse("4GiB").unwrap().0, 4 << 30);
        assert_eq!(Size::parse("500MB").unwrap().0, 500_000_000);
        assert_eq!(Size::parse("1.5KiB").unwrap().0, 1536);
        assert!(Size::parse("4 potatoes").is_err());
        assert_eq!(bytes(3_355_443), "3.2 MiB");
    }

    #[test]
    fn a_duration_reads_back_from_its_own_text() {
        for seconds in [0, 1, 9, 10, 61, 3599, 3600, 3661, 90_061] {
            let span = Span(Duration::from_secs(seconds));
            assert_eq!(Span::parse(&span.to_string()).unwrap(), span);
        }
    }

    #[test]
    fn a_moment_is_told_from_the_loss_or_from_now() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let (then, now) = (at("2026-03-14T02:00:00Z"), at("2026-03-14T02:05:03Z"));
        assert_eq!(beside(then, now), "5m03s before the loss");
        assert_eq!(beside(now, then), "5m03s AFTER the loss");
        assert_eq!(old(then, now), "5m03s old");
        assert_eq!(old(now, then), "5m03s in the FUTURE");
    }

    #[test]
    fn a_host_with_its_port_has_one_reading() {
        for text in ["smtp.example:25", "192.0.2.7:443", "[2001:db8::1]:443"] {
            assert_eq!(Socket::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "smtp.example",
            "smtp:0",
            ":25",
            "a b:25",
            "2001:db8::1:443",
            "[x]:1",
            "x:y",
        ] {
            assert!(Socket::parse(bad).is_err(), "{bad}");
        }
    }
}
