//! What goes wrong on such a night, in the real sandbox: outages that pass are waited out, and what needs a person stops
//! with words that lead on. `docs/faults.md` has the table.

mod passing;
mod stopping;
