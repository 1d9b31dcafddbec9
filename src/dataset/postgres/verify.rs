//! What a restored database holds and what is wrong with it, whatever the plan asks besides.

use std::time::Duration;

use super::Psql;
use crate::kind::{Failure, Finding, Reason};

/// What a database holds, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Tables of users, partitions too.
    pub tables: u64,
    /// Indexes that are not valid: `schema.index`.
    pub invalid_indexes: Vec<String>,
    /// Foreign keys and checks that were never proved on all rows: `table.constraint`. A dump keeps them so.
    pub unproved: Vec<String>,
    /// Sequences that would give an id which is taken: `schema.sequence (last N, column has M)`.
    pub behind: Vec<String>,
}

const INVENTORY: &str = r"
SELECT 'tables', count(*)::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%'
UNION ALL
SELECT 'invalid', n.nspname || '.' || c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relkind = 'i'
UNION ALL
SELECT 'unproved', conrelid::regclass || '.' || conname FROM pg_constraint WHERE NOT convalidated AND contype IN ('f', 'c')
UNION ALL
SELECT 'behind', n.nspname || '.' || s.relname || ' (last ' || coalesce(q.last_value, 0) || ', column has ' || m.largest || ')'
  FROM pg_class s
  JOIN pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  JOIN pg_class t ON t.oid = d.refobjid
  JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  JOIN pg_sequences q ON q.schemaname = n.nspname AND q.sequencename = s.relname
 CROSS JOIN LATERAL (
   SELECT ((xpath('/row/m/text()', query_to_xml(format('SELECT max(%I)::numeric AS m FROM %I.%I', a.attname, tn.nspname, t.relname), false, true, '')))[1])::text::numeric AS largest
 ) m
 WHERE s.relkind = 'S' AND q.increment_by > 0 AND NOT q.cycle AND m.largest > coalesce(q.last_value, 0)";

impl Psql {
    /// Counts and inspects what is there.
    pub async fn inventory(
        &self,
        database: &str,
        deadline: Duration,
    ) -> Result<Inventory, Failure> {
        let mut inventory = Inventory {
            tables: 0,
            invalid_indexes: Vec::new(),
            unproved: Vec::new(),
            behind: Vec::new(),
        };
        for row in self.rows(database, INVENTORY, deadline).await? {
            let [Some(kind), Some(value)] = row.as_slice() else {
                continue;
            };
            match kind.as_str() {
                "tables" => inventory.tables = value.parse().unwrap_or(0),
                "invalid" => inventory.invalid_indexes.push(value.clone()),
                "unproved" => inventory.unproved.push(value.clone()),
                _ => inventory.behind.push(value.clone()),
            }
        }
        Ok(inventory)
    }
}

impl Inventory {
    /// No table at all, or an index that answers wrongly, is a failure; the rest are findings.
    pub fn judge(&self, database: &str) -> Result<Vec<Finding>, Failure> {
        let fail = |why: String| {
            Err(Failure::new(
                Reason::Verify,
                format!("database `{database}`: {why}"),
            ))
        };
        if self.tables == 0 {
            return fail("there is no table in it".into());
        }
        if !self.invalid_indexes.is_empty() {
            return fail(format!(
                "invalid indexes: {}",
                self.invalid_indexes.join(", ")
            ));
        }
        let mut findings = vec![Finding::verified(format!(
            "{} table(s), every index valid",
            self.tables
        ))];
        if !self.unproved.is_empty() {
            findings.push(Finding::warning(format!(
                "constraints that were never validated: {}",
                self.unproved.join(", ")
            )));
        }
        if !self.behind.is_empty() {
            findings.push(Finding::warning(format!(
                "sequences behind their column: {}",
                self.behind.join(", ")
            )));
        }
        Ok(findings)
    }
}
