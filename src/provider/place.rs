//! Where a server shall stand, as people write it: `provider/region` or `provider/region/type`.

use std::fmt;
use std::str::FromStr;

/// A place: an account, a region and, if one was named, a type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The name of a provider file.
    pub account: String,
    /// The region, or an alias of the provider file.
    pub region: String,
    /// The type, or an alias of the provider file.
    pub size: Option<String>,
}

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a place: {why}; write it like `hetzner/nbg1` or `hetzner/nbg1/cx23`")]
pub struct PlaceError {
    text: String,
    why: &'static str,
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let wrong = |why| PlaceError {
            text: text.to_string(),
            why,
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(wrong("a part of it is empty"));
        }
        // Everything goes into paths and labels later.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = |part: &&str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(plain)
        };
        if !parts.iter().all(name) {
            return Err(wrong(
                "letters, digits, `-`, `_` and `.` make a part, and a letter or digit begins it",
            ));
        }
        match parts[..] {
            [account, region] => Ok(Self {
                account: account.into(),
                region: region.into(),
                size: None,
            }),
            [account, region, size] => Ok(Self {
                account: account.into(),
                region: region.into(),
                size: Some(size.into()),
            }),
            [_] => Err(wrong("the region is missing")),
            _ => Err(wrong("it has more than three parts")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)?;
        self.size
            .as_ref()
            .map_or(Ok(()), |size| write!(f, "/{size}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_from_its_own_text() {
        for text in [
            "hetzner/nbg1",
            "do-eu/fra1/s-2vcpu-4gb",
            "vultr/fra/vc2-1c-1gb",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_place_is_told_apart() {
        for (text, why) in [
            ("hetzner", "the region is missing"),
            ("hetzner/", "empty"),
            ("/nbg1", "empty"),
            ("a/b/c/d", "more than three"),
            ("hetzner/nbg 1", "letters"),
            ("../x", "letters"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
