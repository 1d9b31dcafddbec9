//! The one way from a value into a shell text, and the assembly of texts out of constants and values.
//!
//! SSH has no argument vector: whatever is sent is read by a shell. So values become single-quoted words here
//! (POSIX.1-2024, Shell Command Language, 2.2.2) and nowhere else.

use super::{Script, TransportError};
use crate::secret::Secret;

/// Above this many bytes a value stays a shell variable and is not exported: the kernel refuses to start
/// programs whose single variable is longer than 128 KiB (`execve(2)`).
const EXPORTED_AT_MOST: usize = 64 << 10;

/// The value as one word of a POSIX shell. A NUL cannot be part of a word.
pub fn quote(value: &str) -> Result<String, TransportError> {
    if value.contains('\0') {
        return Err(TransportError::Local(
            "a value with a NUL byte cannot be given to a shell".into(),
        ));
    }
    Ok(format!("'{}'", value.replace('\'', r"'\''")))
}

/// A shell text that grows out of constants and quoted values. It may hold secrets, so it cannot be shown.
#[derive(Default, Clone)]
pub(super) struct Text(String);

impl Text {
    /// Adds a constant of this program, with a line break.
    pub fn constant(mut self, text: &'static str) -> Self {
        self.0.push_str(text);
        self.0.push('\n');
        self
    }

    /// Adds `NAME='value'`. The name is a constant of this program.
    pub fn set(mut self, name: &'static str, value: &str) -> Result<Self, TransportError> {
        self.0.push_str(&format!("{name}={}\n", quote(value)?));
        Ok(self)
    }

    /// Adds `NAME='...'` with a text as the value: a text within a text.
    pub fn hold(self, name: &'static str, inner: &Text) -> Result<Self, TransportError> {
        self.set(name, &inner.0)
    }

    /// The last line, by which the other side knows that it has all.
    pub fn sealed(mut self, mark: &str) -> Self {
        self.0.push('#');
        self.0.push_str(mark);
        self
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands before every script of a plan: the same world on every host. Our own files are made under a stricter
/// umask, which is none of the script's business.
const WORLD: &str = "umask 022\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC";

/// The script with its values and secrets, ready to be evaluated.
pub(super) fn whole(script: &Script) -> Result<Text, TransportError> {
    let mut text = public_part(script)?;
    for (name, secret) in &script.secrets {
        check_name(name)?;
        assign_secret(&mut text, name, secret)?;
    }
    text.0.push_str(&script.text);
    text.0.push('\n');
    Ok(text)
}

/// The script with its values as it may lie on a disk: without secrets.
pub(super) fn shown(script: &Script) -> Result<Text, TransportError> {
    let mut text = public_part(script)?;
    for (name, _) in &script.secrets {
        check_name(name)?;
        text.0
            .push_str(&format!("# DR_SECRET_{name} came over standard input\n"));
    }
    text.0.push_str(&script.text);
    Ok(text)
}

fn public_part(script: &Script) -> Result<Text, TransportError> {
    let mut text = Text::default().constant(WORLD);
    for (name, value) in &script.values {
        check_name(name)?;
        let export = if value.len() <= EXPORTED_AT_MOST {
            "export "
        } else {
            ""
        };
        text.0
            .push_str(&format!("{export}DR_{name}={}\n", quote(value)?));
    }
    Ok(text)
}

fn assign_secret(text: &mut Text, name: &str, secret: &Secret) -> Result<(), TransportError> {
    let value = quote(secret.expose())?;
    text.0.push_str(&format!("DR_SECRET_{name}={value}\n"));
    Ok(())
}

/// `[A-Z][A-Z0-9_]*`: a name that is nothing but a name to a shell.
fn check_name(name: &str) -> Result<(), TransportError> {
    let right = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if right {
        Ok(())
    } else {
        Err(TransportError::Local(format!(
            "`{name}` cannot be the name of a value: write it like `DB_NAME`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn through_sh(value: &str) -> Vec<u8> {
        let text = format!("DR_X={}\nprintf %s \"$DR_X\"", quote(value).unwrap());
        let text = format!("eval {}", quote(&text).unwrap());
        let out = Command::new("sh").arg("-c").arg(text).output().unwrap();
        assert!(out.status.success());
        out.stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_text_comes_out_of_a_real_shell_as_it_went_in(value in "[^\0]{0,200}") {
            prop_assert_eq!(through_sh(&value), value.as_bytes());
        }

        #[test]
        fn texts_made_of_what_shells_care_about_come_out_unchanged(value in r#"['"\\$`!\n\t ;&|<>(){}*?\[\]#~=%a-]{0,60}"#) {
            prop_assert_eq!(through_sh(&value), value.as_bytes());
        }
    }

    #[test]
    fn a_nul_and_a_name_that_is_more_than_a_name_are_refused() {
        assert!(quote("a\0b").is_err());
        for name in ["", "a", "A B", "A;id", "1A", "A=$(id)", "Ä"] {
            assert!(whole(&Script::new(":").value(name, "x")).is_err(), "{name}");
            let secret = Secret::new("secret-value".into());
            assert!(whole(&Script::new(":").secret(name, secret)).is_err());
        }
    }

    #[test]
    fn the_text_for_the_disk_has_no_secret() {
        let script = Script::new("echo hi")
            .value("A", "it's")
            .secret("B", Secret::new("canary-canary".into()));
        assert!(!shown(&script).unwrap().as_str().contains("canary"));
        assert!(whole(&script).unwrap().as_str().contains("canary"));
    }
}
