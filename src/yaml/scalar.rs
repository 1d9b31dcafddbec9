//! What an unquoted word means: the YAML 1.2 core schema (yaml.org/spec/1.2.2, section 10.3.2), stricter where
//! two readers of the same file could disagree.

use super::Kind;

/// Why a word cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A whole number that no 64 bits hold: as a float it would silently become another one.
    Large,
    /// `.inf`, `.nan`, `1e999`.
    NotFinite,
}

/// Reads an unquoted word.
pub(super) fn resolve(word: &str) -> Result<Kind, Refused> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" => return Ok(Kind::Bool(true)),
        "false" => return Ok(Kind::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(Refused::NotFinite),
        _ => {}
    }
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(Refused::NotFinite);
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(unsigned) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Ok(Kind::String(word.to_string()));
        }
        return whole(word.strip_prefix('+').unwrap_or(word), 10);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(rest) = word.strip_prefix(prefix)
            && !rest.is_empty()
            && rest.chars().all(|c| c.is_digit(radix))
        {
            return whole(rest, radix);
        }
    }
    if is_float(unsigned) {
        return match word.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Kind::Float(value)),
            _ => Err(Refused::NotFinite),
        };
    }
    Ok(Kind::String(word.to_string()))
}

fn whole(digits: &str, radix: u32) -> Result<Kind, Refused> {
    let value = i128::from_str_radix(digits, radix).map_err(|_| Refused::Large)?;
    if value < i128::from(i64::MIN) || value > i128::from(u64::MAX) {
        return Err(Refused::Large);
    }
    Ok(Kind::Int(value))
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && all_digits(exponent)
    });
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits
        && all_digits(before)
        && all_digits(after)
        && !(before.is_empty() && after.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_the_core_schema_says_and_yes_stays_a_word() {
        let text = |word: &str| Ok(Kind::String(word.to_string()));
        for word in [
            "yes", "no", "on", "off", "y", "True", "1.2.3", "-", ".", "e5", "12:30", "0x", "+",
            "1e",
        ] {
            assert_eq!(resolve(word), text(word), "{word}");
        }
        assert_eq!(resolve("true"), Ok(Kind::Bool(true)));
        assert_eq!(resolve(""), Ok(Kind::Null));
        assert_eq!(resolve("-12"), Ok(Kind::Int(-12)));
        assert_eq!(resolve("0x1F"), Ok(Kind::Int(31)));
        assert_eq!(resolve("0o17"), Ok(Kind::Int(15)));
        assert_eq!(resolve("1.5e3"), Ok(Kind::Float(1500.0)));
        assert_eq!(resolve(".5"), Ok(Kind::Float(0.5)));
    }

    #[test]
    fn a_file_mode_with_a_leading_zero_keeps_its_digits() {
        assert_eq!(resolve("0644"), Ok(Kind::String("0644".into())));
    }

    #[test]
    fn numbers_that_would_silently_change_are_refused() {
        assert_eq!(
            resolve("18446744073709551615"),
            Ok(Kind::Int(u64::MAX.into()))
        );
        assert_eq!(resolve("18446744073709551616"), Err(Refused::Large));
        assert_eq!(
            resolve("99999999999999999999999999999999999999999999"),
            Err(Refused::Large)
        );
        assert_eq!(resolve("1e999"), Err(Refused::NotFinite));
        assert_eq!(resolve("-.inf"), Err(Refused::NotFinite));
    }
}
