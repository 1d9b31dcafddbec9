//! What a service says, made fit to be shown: secrets masked, one line, cut.

use serde_json::Value;

use crate::secret::{MASKED, Mask, Secret};

/// Characters of a service's text that are kept.
const LONGEST: usize = 600;

pub(super) struct SafeText {
    mask: Mask,
    token: Secret,
}

impl SafeText {
    pub(super) fn new(mask: Mask, token: Secret) -> Self {
        mask.learn(&token);
        Self { mask, token }
    }

    /// A text of the service that can be shown: secrets masked (also a beginning of the token, which one cloud quotes
    /// in its rate-limit message), no control characters, cut.
    pub(super) fn safe(&self, text: &str) -> String {
        let masked = mask_beginnings(&self.mask.clean(text), self.token.expose());
        let mut line: String = masked
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if let Some((at, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(at);
            line.push('…');
        }
        line.trim().to_string()
    }

    pub(super) fn safe_json(&self, body: &[u8]) -> Option<Value> {
        fn each(value: &mut Value, change: &impl Fn(&str) -> String) {
            match value {
                Value::String(text) => *text = change(text),
                Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
                Value::Object(fields) => fields.values_mut().for_each(|item| each(item, change)),
                _ => {}
            }
        }
        let mut value: Value = serde_json::from_slice(body).ok()?;
        each(&mut value, &|text| self.safe(text));
        Some(value)
    }
}

/// Masks every beginning of the token that is long enough to be one and not a word.
fn mask_beginnings(text: &str, token: &str) -> String {
    const SHORTEST: usize = 8;
    let Some(head) = token.get(..SHORTEST) else {
        return text.to_string();
    };
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(head) {
        let same = rest[at..]
            .chars()
            .zip(token.chars())
            .take_while(|(a, b)| a == b)
            .map(|(c, _)| c.len_utf8())
            .sum::<usize>();
        out.push_str(&rest[..at]);
        out.push_str(MASKED);
        rest = &rest[at + same..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_the_token_is_masked_too() {
        let token = Secret::new("6MWq3U8cixMhwHorZd68v8ILzIZyJb4NabcdefGH".into());
        let text = SafeText::new(Mask::default(), token);
        let safe = text.safe("Limit reached for token '6MWq3U8cixMhwHorZd68v8ILzIZyJb4N...'.\r\n");
        assert_eq!(safe, format!("Limit reached for token '{MASKED}...'."));
    }

    #[test]
    fn a_page_of_html_becomes_a_line() {
        let text = SafeText::new(Mask::default(), Secret::new("0123456789".into()));
        let safe = text.safe(&format!("<html>\n{}\u{1b}[31m", "x".repeat(9000)));
        assert!(
            safe.chars().count() <= LONGEST + 1 && !safe.contains(char::is_control),
            "{safe}"
        );
    }
}
