//! What people see, as snapshots: a changed word is a change that somebody decided.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};

use dr_plan::event::{Event, What};
use dr_plan::kind::Reason;
use dr_plan::report::{Detail, Json, Lines, Outlet, Report, Style, html, markdown};
use dr_plan::state::{Reporter, RunState};

use super::night::{self, Night};

/// Collects what is written.
#[derive(Clone, Default)]
pub struct Paper(pub Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn replay(events: &[Event], reporter: &mut dyn Reporter) {
    let mut state = RunState::begin(&events[0]).unwrap();
    reporter.show(&events[0], &state);
    for event in &events[1..] {
        state.fold(event).unwrap();
        reporter.show(event, &state);
    }
}

fn lines(night: &Night, detail: Detail, color: bool) -> String {
    let paper = Paper::default();
    let mut lines = Lines::new(Box::new(paper.clone()), Style { detail, color });
    replay(&night.events, &mut lines);
    paper.text()
}

#[test]
fn a_night_with_a_retry_a_failure_and_an_approval_in_lines() {
    insta::assert_snapshot!(lines(&night::with_a_yes(), Detail::Normal, false));
}

#[test]
fn a_night_that_stops_for_a_person_in_lines() {
    insta::assert_snapshot!(lines(&night::with_a_block(), Detail::Normal, false));
}

#[test]
fn quiet_lines_tell_what_went_wrong_and_the_end() {
    insta::assert_snapshot!(lines(&night::with_a_yes(), Detail::Quiet, false));
}

#[test]
fn colours_add_nothing_but_colours() {
    let plain = lines(&night::with_a_yes(), Detail::Verbose, false);
    let coloured = lines(&night::with_a_yes(), Detail::Verbose, true);
    assert_ne!(plain, coloured);
    assert_eq!(plain, anstream::adapter::strip_str(&coloured).to_string());
    assert!(
        !plain.contains('\u{1b}'),
        "a program's escape sequences stay out"
    );
}

#[test]
fn a_night_as_markdown() {
    let report = Report::new(&night::with_a_yes().state()).of_journal(38, "ab".repeat(32));
    insta::assert_snapshot!(markdown(&report));
}

#[test]
fn a_stopped_night_as_markdown() {
    insta::assert_snapshot!(markdown(&Report::new(&night::with_a_block().state())));
}

#[test]
fn a_time_without_a_zone_is_a_warning_in_every_form_of_the_report() {
    let mut night = night::with_a_yes();
    for event in &mut night.events {
        if let What::Newest { taken_as_utc, .. } = &mut event.what {
            taken_as_utc.push("select max(at) from orders".into());
        }
    }
    let report = Report::new(&night.state());
    let asked = report.rpo.datasets[0].taken_as_utc.as_slice();
    assert_eq!(asked, ["select max(at) from orders"]);
    for text in [
        markdown(&report),
        html(&report),
        dr_plan::report::closing(&report),
    ] {
        for words in ["WARNING", "select max(at) from orders", "UTC", "zone:"] {
            assert!(text.contains(words), "`{words}` is not in\n{text}");
        }
    }
    let told = lines(&night, Detail::Normal, false);
    assert!(
        told.contains("it has no time zone and was taken as UTC"),
        "{told}"
    );
}

#[test]
fn a_night_as_json() {
    insta::assert_snapshot!(Report::new(&night::with_a_yes().state()).json());
}

#[test]
fn every_prefix_of_a_night_has_a_report() {
    let events = night::with_a_yes().events;
    for length in 1..=events.len() {
        let report = Report::new(&RunState::replay(&events[..length]).unwrap());
        assert!(markdown(&report).contains("region-failover"));
        assert_eq!(report.result.is_some(), length == events.len());
    }
}

#[test]
fn json_lines_read_back_as_the_events_they_were() {
    let events = night::with_a_yes().events;
    let paper = Paper::default();
    replay(&events, &mut Json::new(Box::new(paper.clone())));
    let back: Vec<Event> = paper
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(back, events);
}

/// A terminal after Ctrl-S: it takes nothing until it is let go.
#[derive(Clone, Default)]
struct Stuck {
    paper: Paper,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let (open, changed) = &*self.open;
        let guard = open.lock().unwrap();
        drop(changed.wait_while(guard, |open| !*open).unwrap());
        self.paper.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_terminal_that_stands_still_holds_nobody_up_and_is_told_what_it_missed() {
    let stuck = Stuck::default();
    let mut outlet = Outlet::with_capacity(Box::new(stuck.clone()), 1000).unwrap();
    // Were writing to block, this would never end.
    for _ in 0..1000 {
        outlet.write_all(b"one line of some length\n").unwrap();
    }
    *stuck.open.0.lock().unwrap() = true;
    stuck.open.1.notify_all();
    drop(outlet);
    let text = stuck.paper.text();
    assert!(text.starts_with("one line"), "{text}");
    assert!(text.contains("lines are not shown here"), "{text}");
}

#[test]
fn a_closed_terminal_is_an_error_for_the_writer_and_not_a_panic() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for reporter in [
        &mut Lines::new(
            Box::new(Closed),
            Style {
                detail: Detail::Normal,
                color: true,
            },
        ) as &mut dyn Reporter,
        &mut Json::new(Box::new(Closed)),
        &mut Json::new(Box::new(Outlet::new(Box::new(Closed)).unwrap())),
    ] {
        replay(&night::with_a_yes().events, reporter);
        reporter.close();
    }
}

#[test]
fn a_page_runs_nothing_and_hostile_texts_stay_texts() {
    let hostile = "</style><script>alert(1)</script><img src=x onerror=\"alert(2)\">`<b>`";
    let mut night = night::until_the_question();
    let What::Header(header) = &mut night.events[0].what else {
        unreachable!()
    };
    header.description = hostile.into();
    header.estate = hostile.into();
    header.by = hostile.into();
    for step in &mut header.steps {
        step.title = hostile.into();
    }
    night.says(150, night::failed("go", Reason::Other, hostile));
    night.says(
        151,
        What::Stopped {
            why: hostile.into(),
            hint: Some(hostile.into()),
        },
    );
    let page = html(&Report::new(&night.state()).of_journal(9, "ab".repeat(32)));
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("&lt;script&gt;"));
    for tag in [
        "<script",
        "<img",
        "<b>alert",
        "onerror=\"",
        "href=",
        "url(",
        "http-equiv=\"refresh",
    ] {
        assert!(!page.contains(tag), "{tag}");
    }
    // Our own end of the style is the only one.
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn every_prefix_of_a_night_has_a_page() {
    let events = night::with_a_yes().events;
    for length in 1..=events.len() {
        let page = html(&Report::new(&RunState::replay(&events[..length]).unwrap()));
        assert!(
            page.contains("<svg") && !page.contains("NaN") && !page.contains("inf"),
            "{length}"
        );
    }
}
