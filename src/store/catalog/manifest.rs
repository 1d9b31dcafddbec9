//! The manifest that a backup's maker leaves beside it: one JSON object a line, `{artifact, bytes, sha256}`, both of the *stored* bytes
//! (a hash of the plaintext beside the name of the ciphertext could never be compared).

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

/// What a manifest says of one artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Stored bytes.
    pub bytes: u64,
    /// SHA-256 of the stored bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// When it was taken, if the maker said so.
    pub taken: Option<Timestamp>,
}

/// Makers add what they like to a line: unknown fields are theirs.
#[derive(Deserialize)]
struct Line {
    artifact: String,
    bytes: u64,
    sha256: String,
    #[serde(default)]
    taken: Option<Timestamp>,
}

/// All manifests that were found.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// By full path.
    entries: HashMap<String, ManifestEntry>,
}

impl Manifest {
    /// Reads a manifest that lies at `place`. An artefact named without a folder lies beside it. Gives back what was wrong with
    /// lines; a line that cannot be read is not used. Of two lines for one artefact the later one holds: manifests are appended to.
    pub fn add(&mut self, place: &str, content: &[u8]) -> Vec<String> {
        let mut problems = Vec::new();
        let folder = place.rfind('/').map_or("", |slash| &place[..=slash]);
        let text = String::from_utf8_lossy(content);
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let number = number + 1;
            let line: Line = match serde_json::from_str(line) {
                Ok(line) => line,
                Err(error) => {
                    problems.push(format!(
                        "`{place}` line {number} is no manifest line, ignored: {error}"
                    ));
                    continue;
                }
            };
            let sha256 = line.sha256.to_ascii_lowercase();
            if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                problems.push(format!(
                    "`{place}` line {number}: `sha256` is not 64 hex digits, ignored"
                ));
                continue;
            }
            let entry = ManifestEntry {
                bytes: line.bytes,
                sha256,
                taken: line.taken,
            };
            let path = if line.artifact.contains('/') {
                line.artifact
            } else {
                format!("{folder}{}", line.artifact)
            };
            if let Some(before) = self.entries.get(&path)
                && before.sha256 != entry.sha256
            {
                problems.push(format!(
                    "`{place}` line {number} says something else of `{path}` than an earlier line; the later one holds"
                ));
            }
            self.entries.insert(path, entry);
        }
        problems
    }

    /// What is known of an object.
    pub fn find(&self, path: &str) -> Option<&ManifestEntry> {
        self.entries.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_and_good_ones_kept() {
        let mut manifest = Manifest::default();
        let sha = "AB".repeat(32);
        let text = format!(
            "{{\"artifact\":\"a.dump\",\"bytes\":5,\"sha256\":\"{sha}\",\"rows\":7}}\nnot json\n\n{{\"artifact\":\"x/b.dump\",\"bytes\":6,\"sha256\":\"{sha}\"}}\n{{\"artifact\":\"c\",\"bytes\":1,\"sha256\":\"12\"}}\n"
        );
        let problems = manifest.add("db/manifest.ndjson", text.as_bytes());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("line 2") && problems[1].contains("line 5"));
        assert_eq!(
            manifest.find("db/a.dump").unwrap().sha256,
            sha.to_lowercase()
        );
        assert_eq!(manifest.find("x/b.dump").unwrap().bytes, 6);
        assert!(manifest.find("a.dump").is_none());
    }
}
