//! Titles are bound before the run, with `<web.ipv4>` where a step will give a value. Once the step has given it, people read the
//! value.

use serde_json::Value;

use super::RunState;
use crate::ids::StepId;

impl RunState {
    /// The text with the values that are known by now; what nobody has yet stays a placeholder.
    pub fn filled(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            let known = from
                .find('>')
                .and_then(|end| Some((end, self.value(&from[1..end])?)));
            match known {
                Some((end, value)) => {
                    filled.push_str(&value);
                    rest = &from[end + 1..];
                }
                None => {
                    filled.push('<');
                    rest = &from[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// What `step.field` gave.
    fn value(&self, path: &str) -> Option<String> {
        let (step, fields) = path.split_once('.')?;
        let step = self.step(&StepId::new(step).ok()?)?;
        let mut fields = fields.split('.');
        let first = step.output.get(fields.next()?)?;
        let value = fields.try_fold(first, |value, field| match value {
            Value::Array(items) => items.get(field.parse::<usize>().ok()?),
            other => other.get(field),
        })?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::header;
    use super::*;
    use crate::event::{Event, What};

    #[test]
    fn a_title_shows_what_is_known_and_leaves_what_is_not() {
        let event = Event {
            seq: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            ms: 0,
            what: What::Header(Box::new(header(vec![super::super::sample::step("web")]))),
        };
        let mut state = RunState::begin(&event).unwrap();
        let text = "shop.example -> <web.ipv4>, <web.ips.1>; <web.ipv6> <no.ipv4> a < b <";
        assert_eq!(state.filled(text), text);
        let step = &mut state.steps[0];
        step.output.insert("ipv4".into(), "198.19.1.1".into());
        step.output.insert("ips".into(), vec!["a", "b"].into());
        assert_eq!(
            state.filled(text),
            "shop.example -> 198.19.1.1, b; <web.ipv6> <no.ipv4> a < b <"
        );
    }
}
