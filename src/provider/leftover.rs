//! What drills have made and did not live to take away, told by a label that only drills put on things. Whoever has the token can
//! find it, from any machine, without the journal of the run.

use async_trait::async_trait;
use jiff::Timestamp;

use super::ProviderError;

/// The label of everything that a drill makes: from when on it may be taken away.
pub const EXPIRES: &str = "dr-plan/expires";

/// The time as a label can hold it.
const FORM: &str = "%Y%m%dT%H%M%SZ";

/// The value of the label.
pub fn expires(at: Timestamp) -> String {
    at.strftime(FORM).to_string()
}

/// The time of a label; none for one that somebody else wrote.
pub fn read(value: &str) -> Option<Timestamp> {
    let at = jiff::civil::DateTime::strptime(FORM, value).ok()?;
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

/// Something that carries a run's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// `server`, `firewall`, `snapshot`.
    pub kind: &'static str,
    /// The provider's id.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// The run that made it, by its mark.
    pub run: Option<String>,
    /// The step.
    pub step: Option<String>,
    /// The label of a drill, as it stands there; none: it is no drill's.
    pub expires: Option<String>,
}

/// What an account can tell of it.
#[async_trait]
pub trait Leftovers: Send + Sync {
    /// All that carries the label of a drill.
    async fn of_drills(&self) -> Result<Vec<Leftover>, ProviderError>;

    /// Servers of runs that were no drills.
    async fn of_runs(&self) -> Result<Vec<Leftover>, ProviderError>;

    /// Takes one of a drill away, proved by a 404. Already gone is success. Looked at again before: without the label
    /// it is left alone.
    async fn remove(&self, leftover: &Leftover) -> Result<(), ProviderError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_goes_through_a_label_and_back() {
        let at: Timestamp = "2026-11-21T22:05:09Z".parse().unwrap();
        assert_eq!(expires(at), "20261121T220509Z");
        assert_eq!(read("20261121T220509Z"), Some(at));
        for other in ["", "tomorrow", "2026-11-21", "20261121T220509"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
