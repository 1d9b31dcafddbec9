//! What a step's program said, kept in a file beside the journal. It is masked line by line: a
//! secret never lies across two writes, because only whole lines are let through.

use std::fs::File;
use std::io::Write;

use crate::secret::Mask;

/// A line longer than this is let through in parts, each with a margin in which no secret is cut.
const LONGEST_LINE: usize = 64 * 1024;

/// Appends masked lines.
pub struct CapturedOutput {
    file: File,
    mask: Mask,
    held: Vec<u8>,
}

impl CapturedOutput {
    pub(super) fn new(file: File, mask: Mask) -> Self {
        Self {
            file,
            mask,
            held: Vec::new(),
        }
    }

    fn let_through(&mut self, up_to: usize) -> std::io::Result<()> {
        let text = String::from_utf8_lossy(&self.held[..up_to]).into_owned();
        self.held.drain(..up_to);
        self.file.write_all(self.mask.clean(&text).as_bytes())
    }

    /// Lets an unfinished last line through too; the program has ended.
    pub fn finish(&mut self) -> std::io::Result<()> {
        match self.held.len() {
            0 => Ok(()),
            all => self.let_through(all),
        }
    }
}

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
            self.let_through(before + end + 1)?;
        }
        // Masked as a whole first, so that a secret across the border is gone; what was a part of one
        // stays held.
        let margin = self.mask.longest().max(4);
        if self.held.len() > LONGEST_LINE + margin {
            let clean = self.mask.clean(&String::from_utf8_lossy(&self.held));
            let mut border = clean.len().saturating_sub(margin);
            while !clean.is_char_boundary(border) {
                border -= 1;
            }
            self.file.write_all(&clean.as_bytes()[..border])?;
            self.held = clean.as_bytes()[border..].to_vec();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for CapturedOutput {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; `finish` tells it.
        let _ = self.finish();
    }
}
