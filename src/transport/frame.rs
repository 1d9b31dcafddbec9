//! How an answer is found in the noise of a session: what counts stands between two lines that begin with a
//! number nobody else knows. The exit status comes with the second, so the 255 of `ssh` never stands for one of a script.

/// At most this much of each output is kept.
pub(super) const KEPT: usize = 1 << 20;

/// The end line says this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The true exit status; 128 + signal.
    pub status: i32,
    /// The session is clean and may serve again.
    pub keep: bool,
}

/// A fresh number for one request: 32 hexadecimal digits, 80 bits of them random.
pub(super) fn nonce() -> String {
    format!("{:032x}", u128::from(ulid::Ulid::generate()))
}

/// Reads one output of one request as it comes in.
pub(super) struct Frame {
    begin: Vec<u8>,
    end: Vec<u8>,
    began: bool,
    /// Not yet judged: may hold the beginning of a mark.
    pending: Vec<u8>,
    kept: Vec<u8>,
    truncated: bool,
}

impl Frame {
    pub fn new(nonce: &str) -> Self {
        Self {
            begin: format!("\n{nonce}:begin\n").into_bytes(),
            end: format!("\n{nonce}:end:").into_bytes(),
            began: false,
            pending: Vec::new(),
            kept: Vec::new(),
            truncated: false,
        }
    }

    /// Takes what was read; says when the end has been seen.
    pub fn push(&mut self, bytes: &[u8]) -> Option<End> {
        self.pending.extend_from_slice(bytes);
        if !self.began {
            // The end without a beginning: the request did not arrive whole.
            let begin = find(&self.pending, &self.begin);
            let end = find(&self.pending, &self.end);
            match (begin, end) {
                (Some(at), end) if end.is_none_or(|end| at < end) => {
                    // The last line break stays: the end mark begins with one.
                    self.pending.drain(..at + self.begin.len());
                    self.began = true;
                }
                (_, Some(_)) => {}
                _ => {
                    let tail = self.begin.len().min(self.pending.len());
                    self.pending.drain(..self.pending.len() - tail);
                    return None;
                }
            }
        }
        if let Some(at) = find(&self.pending, &self.end) {
            let line = &self.pending[at + self.end.len()..];
            let length = line.iter().position(|byte| *byte == b'\n')?;
            let line = String::from_utf8_lossy(&line[..length]).into_owned();
            if self.began {
                let text: Vec<u8> = self.pending.drain(..at).collect();
                self.keep(&text);
            }
            let (status, after) = line.split_once(':').unwrap_or((&line, ""));
            return Some(End {
                status: status.parse().unwrap_or(97),
                keep: after == "keep",
            });
        }
        // An end line is shorter than this; what stands before cannot be part of one.
        let safe = self.pending.len().saturating_sub(self.end.len() + 16);
        let safe: Vec<u8> = self.pending.drain(..safe).collect();
        self.keep(&safe);
        None
    }

    /// The request arrived whole and was begun.
    pub fn began(&self) -> bool {
        self.began
    }

    /// What was said, and whether more was.
    pub fn into_output(self) -> (Vec<u8>, bool) {
        (self.kept, self.truncated)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (KEPT - self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        self.truncated |= room < bytes.len();
    }
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    // The marks are rare and begin with a line break: look at those only.
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == mark[0]) {
        let at = from + at;
        if text[at..].starts_with(mark) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> (Option<End>, Vec<u8>, bool) {
        let mut frame = Frame::new("abc");
        let mut end = None;
        for part in bytes.chunks(step) {
            end = end.or(frame.push(part));
        }
        let (text, more) = frame.into_output();
        (end, text, more)
    }

    #[test]
    fn an_answer_is_found_however_it_is_cut() {
        let bytes: &[u8] = b"motd\n\nabc:begin\nhello\n\nabd:end:1:keep\nworld\nabc:end:255:keep\n";
        for step in 1..bytes.len() {
            let (end, text, more) = read(bytes, step);
            let right = End {
                status: 255,
                keep: true,
            };
            assert_eq!(end, Some(right), "{step}");
            assert_eq!(text, b"hello\n\nabd:end:1:keep\nworld", "{step}");
            assert!(!more);
        }
    }

    #[test]
    fn an_answer_without_its_end_is_none() {
        let (end, _, _) = read(b"\nabc:begin\nhello\nabc:end:25", 3);
        assert_eq!(end, None);
    }

    #[test]
    fn an_empty_answer_and_a_request_that_did_not_arrive_are_told_apart() {
        let mut frame = Frame::new("abc");
        assert!(frame.push(b"\nabc:begin\n\nabc:end:0:keep\n").is_some());
        assert!(frame.began());
        let mut frame = Frame::new("abc");
        assert_eq!(frame.push(b"\nabc:end:97:keep\n").unwrap().status, 97);
        assert!(!frame.began());
    }

    #[test]
    fn too_much_output_is_dropped_and_said() {
        let mut bytes = b"\nabc:begin\n".to_vec();
        bytes.extend(vec![b'x'; KEPT + 5]);
        bytes.extend(b"\nabc:end:0:keep\n");
        let (end, text, more) = read(&bytes, 4096);
        assert!(end.is_some());
        assert_eq!((text.len(), more), (KEPT, true));
    }
}
