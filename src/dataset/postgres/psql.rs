//! Leashed questions to a cluster. The statement travels inside the script and into psql by a pipe, never as an argument, and
//! runs in a transaction that only reads.

use std::sync::Arc;
use std::time::Duration;

use super::Site;
use crate::kind::{Failure, Reason};
use crate::transport::{Script, Transport};

/// What stands for NULL in psql's answer: no database returns it by chance (SYMBOL FOR NULL twice).
const NULL: &str = "\u{2400}\u{2400}";

/// The script's status when the server is there and lets nobody in yet (`EX_TEMPFAIL`).
const STARTS: i32 = 75;

/// A query of a person is handed to the server as a text and opened there as a cursor, in a transaction that only reads. So psql
/// finds no command of its own in it, a second statement is refused, and so is all that gives no rows: `COPY`, `SET`,
/// definitions. What a function that somebody calls does on its own is not held back beyond that.
const ASK: &str = r#"
PGOPTIONS="-c default_transaction_read_only=on -c statement_timeout=$DR_MILLISECONDS -c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601"
export PGOPTIONS
if psql -X -q -A -t --csv -w -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -P null="$DR_NULL" -d "$DR_ASKED" <<DR_END_OF_QUERY
begin transaction read only;
do \$do_$DR_NONCE\$ declare answer refcursor := 'dr_answer'; begin open answer for execute \$ask_$DR_NONCE\$$DR_QUERY\$ask_$DR_NONCE\$; end \$do_$DR_NONCE\$;
fetch all from dr_answer;
commit;
DR_END_OF_QUERY
then :; else
  # 2 is psql's word for a connection that failed, 3 for a statement that did.
  dr_psql_status=$?
  # A server that starts refuses everybody until its data agrees with itself, in whatever language: 1 is pg_isready's word for that.
  if [ "$dr_psql_status" = 2 ]; then
    dr_ready=0
    pg_isready -q -d postgres || dr_ready=$?
    if [ "$dr_ready" = 1 ]; then exit 75; fi
  fi
  exit "$dr_psql_status"
fi
"#;

/// Asks one cluster over its local socket.
#[derive(Clone)]
pub struct Psql {
    transport: Arc<dyn Transport>,
    site: Site,
    version: u32,
}

impl Psql {
    /// `version` is the server's major version: whose client is used when several are installed.
    pub fn new(transport: Arc<dyn Transport>, site: Site, version: u32) -> Self {
        Self {
            transport,
            site,
            version,
        }
    }

    /// All rows of a query, NULL as `None`. Times come in UTC, ISO 8601.
    pub async fn rows(
        &self,
        database: &str,
        sql: &str,
        deadline: Duration,
    ) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let script = Script::new(format!(
            "{}\n{}\n{ASK}",
            crate::codec::PRELUDE,
            super::PREPARE
        ))
        .ours()
        .value("VERSION", self.version.to_string())
        .value("SOCKET", self.site.socket.clone().unwrap_or_default())
        .value("PORT", self.site.port.to_string())
        .value("FOLDER", "/nonexistent")
        .value("RUN", "")
        .value("STEP", "")
        .value("MILLISECONDS", deadline.as_millis().max(1).to_string())
        .value("NULL", NULL)
        .value("ASKED", database)
        // Nobody can end a text whose end he cannot know.
        .value("NONCE", crate::ids::RunId::generate().as_str())
        .value("QUERY", sql)
        .run_as(self.site.run_as.as_deref());
        let answer = self
            .transport
            .leashed(&script, deadline + Duration::from_secs(15))
            .await?;
        let host = self.transport.host();
        if !answer.ok() {
            let said = answer.said();
            let reason = match answer.status {
                2 => Reason::Unreachable,
                STARTS => Reason::Busy,
                _ if said.contains("statement timeout") => Reason::Timeout,
                _ => Reason::ExitCode,
            };
            return Err(Failure::new(
                reason,
                format!("asking database `{database}` on `{host}`: {said}"),
            ));
        }
        if answer.truncated {
            return Err(Failure::new(
                Reason::Other,
                format!(
                    "asking database `{database}` on `{host}`: the answer is longer than 1 MiB"
                ),
            ));
        }
        Ok(csv(&answer.stdout)
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|field| (field != NULL).then_some(field))
                    .collect()
            })
            .collect())
    }

    /// The one value of a query that gives one row of one column.
    pub async fn value(
        &self,
        database: &str,
        sql: &str,
        deadline: Duration,
    ) -> Result<Option<String>, Failure> {
        let rows = self.rows(database, sql, deadline).await?;
        match rows.as_slice() {
            [row] if row.len() == 1 => Ok(row[0].clone()),
            rows => Err(Failure::new(
                Reason::Verify,
                format!(
                    "`{}` gave {} row(s) of {} column(s), where one value was expected",
                    sql.trim(),
                    rows.len(),
                    rows.first().map_or(0, Vec::len)
                ),
            )),
        }
    }
}

/// RFC 4180 as psql writes it: fields quoted when they hold a comma, a quote or a line break.
fn csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut begun = false;
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            ',' if !quoted => {
                row.push(std::mem::take(&mut field));
                begun = true;
            }
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
                begun = false;
            }
            other => {
                field.push(other);
                begun = true;
            }
        }
    }
    if begun {
        row.push(field);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_commas_quotes_and_line_breaks_are_whole() {
        assert_eq!(
            csv("1,\"a,b\",\"say \"\"x\"\"\"\n2,,\"two\nlines\"\n\n"),
            vec![
                vec!["1", "a,b", "say \"x\""],
                vec!["2", "", "two\nlines"],
                vec![""],
            ]
        );
        assert!(csv("").is_empty());
    }
}
