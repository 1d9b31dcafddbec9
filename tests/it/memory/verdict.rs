//! How a night is judged: each word of the result, its reasons, and that the worst one wins.

use std::time::Duration;

use dr_plan::event::{Ask, AskKind, BoundStep, HealthRule, Mark, OnFailure, RunResult, What};
use dr_plan::kind::{Effect, Failure, Mode, Reason};
use dr_plan::state::judge;

use super::night::{self, Night, at, done, failed, id, intent, minutes, skip, step};

/// `a`, then `b`; `c` alone and not critical.
fn plan() -> Vec<BoundStep> {
    let mut c = step("c", "c", Effect::Write, &[]);
    c.critical = false;
    vec![
        step("a", "a", Effect::Write, &[]),
        step("b", "b", Effect::Write, &["a"]),
        c,
    ]
}

fn begun(change: impl FnOnce(&mut dr_plan::event::Header)) -> Night {
    let mut header = night::header(plan());
    header.objectives = Default::default();
    change(&mut header);
    let mut night = Night::default();
    night.says(0, What::Header(Box::new(header)));
    night
}

fn all_done(mut night: Night) -> Night {
    for name in ["a", "b", "c"] {
        night.says(1, done(name, &[]));
    }
    night
}

fn judged(night: &Night) -> (RunResult, String) {
    let (result, because) = judge(&night.state());
    (result, because.join("; "))
}

fn with_health(header: &mut dr_plan::event::Header) {
    header.health = Some(HealthRule {
        hold: Duration::from_secs(3),
        within: minutes(5),
        checks: vec!["up".into()],
    });
}

fn newest(lost: u64, limit: Option<Duration>) -> What {
    What::Newest {
        step: id("a"),
        dataset: "shop-db".into(),
        at: "2026-03-14T02:10:00Z"
            .parse::<dr_plan::clock::Timestamp>()
            .unwrap()
            - minutes(lost),
        backup_taken: None,
        limit,
        taken_as_utc: Vec::new(),
    }
}

#[test]
fn all_done_is_met_and_needs_no_words() {
    assert_eq!(
        judged(&all_done(begun(|_| {}))),
        (RunResult::Met, String::new())
    );
}

#[test]
fn a_failed_critical_step_fails_the_run_and_so_does_what_it_dooms() {
    let mut night = begun(|_| {});
    night.says(1, failed("a", Reason::Verify, "no such table\nmore"));
    night.says(
        1,
        What::Doomed {
            step: id("b"),
            cause: id("a"),
        },
    );
    night.says(1, done("c", &[]));
    let (result, because) = judged(&night);
    assert_eq!(result, RunResult::Failed);
    assert_eq!(
        because,
        "`a` failed: no such table; `b` could not run, because of `a`"
    );
}

#[test]
fn a_failed_step_that_is_not_critical_is_an_exception() {
    let mut night = begun(|_| {});
    for name in ["a", "b"] {
        night.says(1, done(name, &[]));
    }
    night.says(1, failed("c", Reason::Other, "no"));
    assert_eq!(
        judged(&night),
        (
            RunResult::MetWithExceptions,
            "`c` failed: no (not critical)".into()
        )
    );
}

#[test]
fn a_critical_step_behind_one_that_is_not_fails_the_run_when_it_cannot_run() {
    let mut night = begun(|header| header.steps[1].needs[0].step = id("c"));
    night.says(1, done("a", &[]));
    night.says(1, failed("c", Reason::Other, "no"));
    night.says(
        1,
        What::Doomed {
            step: id("b"),
            cause: id("c"),
        },
    );
    assert_eq!(judged(&night).0, RunResult::Failed);
}

#[test]
fn a_skipped_critical_step_is_an_exception_with_its_author() {
    let mut night = begun(|_| {});
    night.says(1, skip("a"));
    for name in ["b", "c"] {
        night.says(1, done(name, &[]));
    }
    assert_eq!(
        judged(&night),
        (
            RunResult::MetWithExceptions,
            "`a` was skipped by ada: done by hand".into()
        )
    );
}

fn asked(mut night: Night, how: &str, because: Option<&str>) -> Night {
    let ask = Ask {
        name: "approve".into(),
        kind: AskKind::Approval,
        question: "go?".into(),
        details: Vec::new(),
        timeout: Some(minutes(20)),
        by: Vec::new(),
    };
    night.says(1, What::Asked { step: id("a"), ask });
    night.says(
        61,
        What::Answered {
            step: id("a"),
            name: "approve".into(),
            yes: false,
            by: "grace".into(),
            because: because.map(str::to_string),
            how: how.into(),
        },
    );
    night.says(61, failed("a", Reason::Declined, "declined"));
    night.says(
        61,
        What::Doomed {
            step: id("b"),
            cause: id("a"),
        },
    );
    night
}

#[test]
fn a_no_to_a_critical_step_aborts_and_what_hangs_on_it_is_no_reason_of_its_own() {
    let mut night = asked(begun(with_health), "command", Some("the region is back"));
    night.says(62, done("c", &[]));
    assert_eq!(
        judged(&night),
        (
            RunResult::Aborted,
            "grace said no to `a`: the region is back".into()
        )
    );
    let mut silent = asked(begun(|_| {}), "timeout", None);
    silent.says(62, done("c", &[]));
    assert_eq!(
        judged(&silent),
        (
            RunResult::Aborted,
            "nobody answered `a` within 1m00s".into()
        )
    );
}

#[test]
fn a_failure_beside_a_no_wins() {
    let mut night = asked(
        begun(|header| header.steps[2].critical = true),
        "command",
        None,
    );
    night.says(62, failed("c", Reason::Other, "broken"));
    let (result, because) = judged(&night);
    assert_eq!(result, RunResult::Failed);
    assert_eq!(because, "`c` failed: broken; grace said no to `a`");
}

#[test]
fn what_did_not_end_fails_and_says_how_it_stands() {
    let mut night = begun(|header| header.steps[0].on_failure = OnFailure::Stop);
    night.says(1, intent("c"));
    assert_eq!(judged(&night).0, RunResult::Failed);
    night.says(2, failed("a", Reason::Other, "no"));
    let (result, because) = judged(&night);
    assert_eq!(result, RunResult::Failed);
    assert_eq!(
        because,
        "`a` failed: no; `b` was not begun, because `a` stopped the run; `c` did not end: it is running (not critical)"
    );
}

#[test]
fn without_proved_health_nothing_is_met() {
    let mut night = all_done(begun(with_health));
    assert_eq!(
        judged(&night),
        (RunResult::Failed, "health was not proved".into())
    );
    night.says(9, What::Unhealthy { why: "503".into() });
    assert_eq!(
        judged(&night),
        (RunResult::Failed, "health did not come: 503".into())
    );
    night.says(9, What::Healthy { since: at(8) });
    assert_eq!(judged(&night).0, RunResult::Met);
}

#[test]
fn a_preview_is_not_asked_for_health_or_figures() {
    let night = all_done(begun(|header| {
        with_health(header);
        header.mode = Mode::Preview;
        header.objectives.rto = Some(minutes(1));
        header.objectives.rpo = Some(minutes(1));
    }));
    assert_eq!(judged(&night).0, RunResult::Met);
}

#[test]
fn the_clock_runs_from_the_loss_to_the_first_green() {
    // Lost at 02:10, begun at 02:14; green at 02:15.
    for (objective, result) in [
        (6, RunResult::Met),
        (5, RunResult::Met),
        (4, RunResult::Missed),
    ] {
        let mut night = all_done(begun(|header| {
            with_health(header);
            header.objectives.rto = Some(minutes(objective));
        }));
        night.says(63, What::Healthy { since: at(60) });
        assert_eq!(judged(&night).0, result, "{objective}");
    }
}

#[test]
fn data_loss_is_held_against_the_objective_and_the_datasets_own_limit() {
    let lost = |minutes_lost, limit, objective: Option<u64>| {
        let mut night = begun(|header| header.objectives.rpo = objective.map(minutes));
        night.says(1, newest(minutes_lost, limit));
        judged(&all_done(night)).0
    };
    assert_eq!(lost(10, None, Some(15)), RunResult::Met);
    assert_eq!(lost(16, None, Some(15)), RunResult::Missed);
    assert_eq!(lost(10, Some(minutes(5)), Some(15)), RunResult::Missed);
    assert_eq!(lost(10, Some(minutes(5)), None), RunResult::Missed);
    assert_eq!(lost(10, None, None), RunResult::Met);
}

/// A measurement whose answer had no zone.
fn doubtful(step: &str, lost: u64) -> What {
    let mut what = newest(lost, None);
    if let What::Newest {
        step: by,
        taken_as_utc,
        ..
    } = &mut what
    {
        *by = id(step);
        taken_as_utc.push("select max(created_at) from orders".into());
    }
    what
}

#[test]
fn a_time_of_which_nobody_knows_the_zone_is_an_exception_although_it_keeps_the_limit() {
    let night = |said: &[What]| {
        let mut night = begun(|header| header.objectives.rpo = Some(minutes(15)));
        for what in said {
            night.says(1, what.clone());
        }
        judged(&all_done(night))
    };
    let (result, because) = night(&[doubtful("a", 10)]);
    assert_eq!(result, RunResult::MetWithExceptions);
    assert_eq!(
        because,
        "RPO: `select max(created_at) from orders` gave a time of `shop-db` without a zone, and it was taken as UTC: \
         write `zone:` beside the query"
    );
    assert_eq!(night(&[doubtful("a", 16)]).0, RunResult::Missed);
    // Asked again in another way, the same step has no doubt left; another step's doubt is not its to take away.
    let again = [doubtful("a", 10), newest(10, None)];
    assert_eq!(night(&again), (RunResult::Met, String::new()));
    for said in [
        [doubtful("b", 5), newest(10, None)],
        [newest(10, None), doubtful("b", 5)],
    ] {
        assert_eq!(night(&said).0, RunResult::MetWithExceptions);
    }
    // Two steps with the same doubt have one reason.
    let both = night(&[doubtful("a", 10), doubtful("b", 10)]);
    assert_eq!(both, (RunResult::MetWithExceptions, because));
}

#[test]
fn a_promise_that_nothing_measures_is_an_exception() {
    let night = all_done(begun(|header| {
        header.objectives.rto = Some(minutes(1));
        header.objectives.rpo = Some(minutes(1));
    }));
    let (result, because) = judged(&night);
    assert_eq!(result, RunResult::MetWithExceptions);
    assert!(
        because.contains("RTO was not measured") && because.contains("RPO was not measured"),
        "{because}"
    );
}

#[test]
fn a_refusal_before_the_start_fails_the_run() {
    let mut night = begun(|_| {});
    night.says(
        1,
        What::Refused {
            step: Some(id("a")),
            failure: Failure::new(Reason::Denied, "the token was refused"),
        },
    );
    assert_eq!(
        judged(&night),
        (
            RunResult::Failed,
            "`a` was refused before the start: the token was refused".into()
        )
    );
}

#[test]
fn a_word_of_a_person_that_a_step_is_done_frees_it_from_what_failed_before_it() {
    let mut night = begun(|_| {});
    night.says(1, failed("a", Reason::Other, "no"));
    night.says(
        1,
        What::Doomed {
            step: id("b"),
            cause: id("a"),
        },
    );
    let ready = |night: &Night| -> Vec<String> {
        night
            .state()
            .ready()
            .map(|s| s.bound.id.to_string())
            .collect()
    };
    assert_eq!(ready(&night), ["c"]);
    night.says(
        2,
        What::Marked {
            step: id("b"),
            mark: Mark::Done,
            by: "ada".into(),
            because: "by hand".into(),
        },
    );
    assert_eq!(ready(&night), ["b", "c"]);
}
