//! Looks over a template before the compiler sees it. handlebars' compiler is quadratic in nested blocks and its
//! recursive grammar overflows the stack (which no caller can catch) on deep ones, so only a small,
//! surely bounded part of the language is let through.

/// Longer templates are refused.
pub(super) const MOST_BYTES: usize = 64 << 10;
/// Blocks within blocks, or parentheses within parentheses.
pub(super) const MOST_DEPTH: usize = 32;

/// What stands in the way, and where in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub from: usize,
    pub to: usize,
    pub message: &'static str,
    pub help: Option<&'static str>,
}

/// Walks over all tags of the text. What is left is `{{path}}`, `{{helper a "b" (c d)}}`, `{{#if ..}}`, `{{else}}`
/// and `{{/if}}`; a single backslash before `{{` makes it plain text, as in handlebars itself.
pub(super) fn look_over(text: &str) -> Result<(), Refusal> {
    if text.len() > MOST_BYTES {
        return Err(refusal(
            0,
            text.len(),
            "a template of more than 64 KiB",
            None,
        ));
    }
    let bytes = text.as_bytes();
    let mut blocks = 0usize;
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let open = at + found;
        let backslashes = bytes[..open]
            .iter()
            .rev()
            .take_while(|b| **b == b'\\')
            .count();
        if backslashes == 1 {
            at = open + 2;
            if text[at..].starts_with("{{") {
                at += 2;
            }
            continue;
        }
        let end = tag(text, open)?;
        let inside = text[open + 2..end - 2].trim_matches(|c: char| c == '~' || c.is_whitespace());
        match inside.as_bytes().first() {
            Some(b'#') => blocks += 1,
            Some(b'/') => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        if blocks > MOST_DEPTH {
            return Err(refusal(
                open,
                end,
                "blocks are nested more than 32 deep",
                None,
            ));
        }
        at = end;
    }
    Ok(())
}

/// Where the tag that opens at `open` ends.
fn tag(text: &str, open: usize) -> Result<usize, Refusal> {
    let bytes = text.as_bytes();
    let first = text[open + 2..].trim_start_matches(|c: char| c == '~' || c.is_whitespace());
    let sign = first.chars().next();
    let wrong = |message, help| Err(refusal(open, (open + 3).min(text.len()), message, help));
    match sign {
        Some('{') => {
            return wrong(
                "two braces open a template",
                Some("put a space between a brace of the text and those of the template"),
            );
        }
        Some('!') => {
            return wrong(
                "comments have no place in a template",
                Some("write it behind a `#` of its own"),
            );
        }
        Some('>' | '*' | '&') => {
            return wrong(
                "partials, decorators and `&` are not used in these templates",
                None,
            );
        }
        _ => {}
    }
    let mut quote = None;
    let mut depth = 0usize;
    let mut at = open + 2;
    while at < bytes.len() {
        let byte = bytes[at];
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(mark), _) if byte == mark => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Ok(at + 2),
            (None, b'(') => {
                depth += 1;
                if depth > MOST_DEPTH {
                    return Err(refusal(
                        open,
                        at + 1,
                        "parentheses are nested more than 32 deep",
                        None,
                    ));
                }
            }
            (None, b')') => depth = depth.saturating_sub(1),
            (None, b'[' | b']' | b'{' | b'|') => {
                return Err(refusal(
                    at,
                    at + 1,
                    "this sign has no place in a template",
                    Some(
                        "a template holds paths such as `steps.db.host`, texts in quotes, and parentheses",
                    ),
                ));
            }
            _ => {}
        }
        at += 1;
    }
    let end = text[open..]
        .find('\n')
        .map_or(text.len(), |line| open + line);
    Err(refusal(
        open,
        end,
        "`{{` is never closed",
        Some("close it with `}}`; a `{{` that is meant as text is written `\\{{`"),
    ))
}

fn refusal(from: usize, to: usize, message: &'static str, help: Option<&'static str>) -> Refusal {
    Refusal {
        from,
        to,
        message,
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nests_that_would_overflow_the_compiler_are_refused_before_it_runs() {
        assert!(look_over(&"{{#if a}}".repeat(5000)).is_err());
        assert!(look_over(&format!("{{{{not {}", "(not ".repeat(5000))).is_err());
        assert!(look_over(&format!("{{{{eq a {}", "[".repeat(5000))).is_err());
        assert!(look_over(&"x".repeat(MOST_BYTES + 1)).is_err());
        assert!(look_over(&format!("{{{{eq ')' {}", "(not ')' ".repeat(5000))).is_err());
    }

    #[test]
    fn an_escaped_brace_pair_opens_nothing() {
        assert_eq!(look_over("docker ps --format '\\{{.ID' [[[["), Ok(()));
        assert!(look_over("\\\\{{.ID").is_err());
    }

    #[test]
    fn many_blocks_side_by_side_are_fine() {
        assert_eq!(look_over(&"{{#if a}}x{{else}}y{{/if}}".repeat(500)), Ok(()));
    }
}
