//! What people type. One file for each command; its doc comment is its help.

mod adopt;
mod afterwards;
mod approve;
mod ask;
mod begin;
mod bound;
mod check;
mod checked;
mod conduct;
mod drill;
mod earlier;
mod enter;
mod explain;
mod failure;
mod here;
mod inject;
mod logs;
mod man;
mod mark;
mod preview;
pub mod problems;
mod reap;
mod release;
mod report;
mod resume;
mod run;
mod runs;
mod sandbox;
mod schema;
mod services;
mod sources;
mod ssh;
mod start;
mod status;
mod taking_down;
mod tell;
mod undo;
mod validate;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use failure::{BUG, CliError, Outcome, USAGE};

/// Rebuilds a team's services on other servers, from backups, on the worst night of the year.
#[derive(Debug, Parser)]
#[command(
    name = "dr-plan",
    version,
    propagate_version = true,
    max_term_width = 110,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Ordinary flags, the same everywhere.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Common {
    /// Machine-readable output on standard output: events while a run goes, one document elsewhere
    #[arg(long, global = true)]
    pub json: bool,
    /// Say less: only what a person must see
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more: what each step sees and says
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,
    /// Where runs are kept [default: $XDG_STATE_HOME/dr-plan]
    #[arg(long, global = true, env = "DR_PLAN_STATE", value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// An inventory instead of the one that the plan names
    #[arg(long, global = true, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// A folder of provider files instead of those that the inventory names
    #[arg(long, global = true, value_name = "FOLDER")]
    pub providers: Option<PathBuf>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal that can.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Validate(validate::Validate),
    Explain(explain::Explain),
    Check(check::Check),
    Schema(schema::SchemaOf),
    #[command(after_help = failure::RUN_CODES)]
    Run(run::Run),
    #[command(after_help = failure::RUN_CODES)]
    Drill(drill::DrillPlan),
    #[command(after_help = failure::RUN_CODES)]
    Resume(resume::Resume),
    Approve(approve::Approve),
    Mark(mark::MarkStep),
    #[command(after_help = failure::UNDO_CODES)]
    Undo(undo::UndoRun),
    Release(release::ReleaseRun),
    Reap(reap::Reap),
    Status(status::StatusOf),
    Runs(runs::Runs),
    Logs(logs::Logs),
    Ssh(ssh::Ssh),
    Report(report::ReportOf),
    Sandbox(sandbox::Sandbox),
    Completions(man::Completions),
    Man(man::Man),
}

/// The command line, for completions and the manual page.
pub(crate) fn command_line() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// The program.
pub fn main() -> ExitCode {
    if let Some(code) = crate::sandbox::run_hidden() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                USAGE
            } else {
                failure::OK
            });
        }
    };
    match cli.common.color {
        Colour::Auto => {}
        Colour::Always => anstream::ColorChoice::Always.write_global(),
        Colour::Never => anstream::ColorChoice::Never.write_global(),
    }
    let filter = if cli.common.verbose {
        "dr_plan=debug"
    } else {
        "dr_plan=warn"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("DR_PLAN_LOG")
        .unwrap_or_else(|_| filter.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let json = cli.common.json;
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            show(&error, json);
            ExitCode::from(error.code())
        }
    }
}

fn dispatch(cli: Cli) -> Outcome {
    let common = cli.common;
    match cli.command {
        Command::Validate(command) => command.run(&common),
        Command::Explain(command) => command.run(&common),
        Command::Check(command) => command.run(&common),
        Command::Schema(command) => command.run(&common),
        Command::Run(command) => command.run(&common),
        Command::Drill(command) => command.run(&common),
        Command::Resume(command) => command.run(&common),
        Command::Approve(command) => command.run(&common),
        Command::Mark(command) => command.run(&common),
        Command::Undo(command) => command.run(&common),
        Command::Release(command) => command.run(&common),
        Command::Reap(command) => command.run(&common),
        Command::Status(command) => command.run(&common),
        Command::Runs(command) => command.run(&common),
        Command::Logs(command) => command.run(&common),
        Command::Ssh(command) => command.run(&common),
        Command::Report(command) => command.run(&common),
        Command::Sandbox(command) => command.run(&common),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

/// The runtime that commands with a network use.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(BUG, format!("starting the runtime: {error}")))
}

/// Standard output is data. A reader that has gone away is no error of ours.
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Standard error is talk.
pub(crate) fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn show(error: &CliError, json: bool) {
    match error {
        CliError::Problems(found) if json => print(&format!("{:#}\n", problems::json(found))),
        CliError::Problems(found) => say(&problems::render(found, true)),
        CliError::Plain { message, hint, .. } if json => {
            print(&format!(
                "{}\n",
                serde_json::json!({ "error": message, "hint": hint, "code": error.code() })
            ));
        }
        CliError::Plain { message, hint, .. } => {
            use anstyle::{AnsiColor, Style};
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let cyan = Style::new().fg_color(Some(AnsiColor::Cyan.into()));
            say(&format!("{red}error{red:#}: {message}\n"));
            for line in hint.iter().flat_map(|hint| hint.lines()) {
                say(&format!("{cyan} hint{cyan:#}: {line}\n"));
            }
        }
    }
}
