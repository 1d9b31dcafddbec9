//! The shop's settings: files of `KEY=VALUE` lines. The password is read from its file by the
//! application itself, not through the environment, which every process of the user could read.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How the shop is set up.
pub struct Config {
    /// `SHOP_LISTEN`, by default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// `SHOP_DATABASE_HOST`: an address or a name.
    pub host: String,
    /// `SHOP_DATABASE_PORT`, by default 5432.
    pub port: u16,
    /// `SHOP_DATABASE_NAME`, by default `shop`.
    pub database: String,
    /// `SHOP_DATABASE_USER`, by default `shop`.
    pub user: String,
    /// `SHOP_DATABASE_PASSWORD`
    pub password: String,
}

/// Why the settings will not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("reading the settings {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}: not `KEY=VALUE` with a key the shop knows", path.display())]
    Line { path: PathBuf, line: usize },
    #[error("the setting `{key}` is missing in the files named")]
    Missing { key: &'static str },
    #[error("the setting `{key}` has a wrong value")]
    Value { key: &'static str },
}

const KEYS: [&str; 6] = [
    "SHOP_LISTEN",
    "SHOP_DATABASE_HOST",
    "SHOP_DATABASE_PORT",
    "SHOP_DATABASE_NAME",
    "SHOP_DATABASE_USER",
    "SHOP_DATABASE_PASSWORD",
];

impl Config {
    /// Reads the files in their order; a later value wins.
    ///
    /// # Errors
    /// A file cannot be read, a line is unknown, or a value is missing or wrong. No error shows a
    /// value.
    pub fn read(files: &[PathBuf]) -> Result<Config, ConfigError> {
        let mut values = BTreeMap::new();
        for path in files {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.clone(),
                source,
            })?;
            collect(path, &text, &mut values)?;
        }
        let mut take = |key: &'static str| values.remove(key);
        let mut required = |key| take(key).ok_or(ConfigError::Missing { key });
        let host = required("SHOP_DATABASE_HOST")?;
        let password = required("SHOP_DATABASE_PASSWORD")?;
        let number = |key, text: Option<String>, default: u16| match text {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| ConfigError::Value { key }),
        };
        let port = number("SHOP_DATABASE_PORT", take("SHOP_DATABASE_PORT"), 5432)?;
        let listen = take("SHOP_LISTEN").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        Ok(Config {
            listen: listen
                .parse()
                .map_err(|_| ConfigError::Value { key: "SHOP_LISTEN" })?,
            host,
            port,
            database: take("SHOP_DATABASE_NAME").unwrap_or_else(|| "shop".to_owned()),
            user: take("SHOP_DATABASE_USER").unwrap_or_else(|| "shop".to_owned()),
            password,
        })
    }
}

fn collect(
    path: &Path,
    text: &str,
    values: &mut BTreeMap<&'static str, String>,
) -> Result<(), ConfigError> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let known = line.split_once('=').and_then(|(key, value)| {
            let known = KEYS.into_iter().find(|known| *known == key)?;
            Some((known, value))
        });
        let Some((key, value)) = known else {
            return Err(ConfigError::Line {
                path: path.to_owned(),
                line: index + 1,
            });
        };
        values.insert(key, value.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = folder.path().join(index.to_string());
            std::fs::write(&path, text).unwrap();
            files.push(path);
        }
        Config::read(&files)
    }

    #[test]
    fn settings_and_secret_come_from_files_of_their_own() {
        let config = read(&[
            "# the shop\nSHOP_DATABASE_HOST=198.18.1.1\nSHOP_DATABASE_PORT=5433\n",
            "SHOP_DATABASE_PASSWORD=a=b\n",
        ])
        .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.host.as_str(), config.port), ("198.18.1.1", 5433));
        assert_eq!(config.password, "a=b");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn a_wrong_line_is_named_without_its_text() {
        let text = "SHOP_DATABASE_HOST=h\nSHOP_DATABASE_PASWORD=hunter2\n";
        let error = read(&[text]).err().unwrap().to_string();
        assert!(
            error.contains(":2:") && !error.contains("hunter2"),
            "{error}"
        );
        let error = read(&["SHOP_DATABASE_HOST=h\n"]).err().unwrap().to_string();
        assert!(error.contains("SHOP_DATABASE_PASSWORD"), "{error}");
    }
}
