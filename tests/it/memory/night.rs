//! A made-up night: a failover with a retry, an approval, a step that fails and what it dooms, and
//! a stop for a person; told in events at fixed times.

use std::time::Duration;

use dr_plan::clock::Timestamp;
use dr_plan::event::{
    Ask, AskKind, BoundNeed, BoundStep, Event, Header, HealthRule, Mark, Objectives, OnFailure,
    Was, What,
};
use dr_plan::ids::{RunId, StepId};
use dr_plan::kind::{
    Effect, Evidence, Failure, Finding, Mode, Observation, Open, Output, Reason, Resource,
};
use dr_plan::state::{RunState, judge};

pub fn id(text: &str) -> StepId {
    StepId::new(text).unwrap()
}

pub fn run() -> RunId {
    RunId::parse("01jd5xq3w8k2m9x7q4r6t8v0zz").unwrap()
}

pub fn at(second: i64) -> Timestamp {
    "2026-03-14T02:14:00Z".parse::<Timestamp>().unwrap()
        + Duration::from_secs(second.unsigned_abs())
}

pub fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub fn step(name: &str, title: &str, effect: Effect, needs: &[&str]) -> BoundStep {
    BoundStep {
        id: id(name),
        kind: "host.run".into(),
        effect,
        needs: needs
            .iter()
            .map(|on| BoundNeed {
                step: id(on),
                was: Was::Succeeded,
            })
            .collect(),
        critical: true,
        on_failure: OnFailure::Contain,
        finally: false,
        left_out: None,
        probe: None,
        title: title.into(),
        asks: Vec::new(),
        expect: None,
        phase: None,
        owner: None,
        notes: None,
        runbook_url: None,
    }
}

pub fn header(steps: Vec<BoundStep>) -> Header {
    Header {
        format: dr_plan::journal::FORMAT,
        run: run(),
        plan: "region-failover".into(),
        description: "Rebuild the shop in another region from its backups.".into(),
        mode: Mode::Failover,
        estate: "shop".into(),
        by: "ada@bastion".into(),
        version: "0.1.0".into(),
        lost_at: "2026-03-14T02:10:00Z".parse().unwrap(),
        lost_at_is_default: false,
        objectives: Objectives {
            rto: Some(minutes(60)),
            rpo: Some(minutes(15)),
        },
        health: None,
        files: Vec::new(),
        inputs: Output::new(),
        steps,
        approved: Vec::new(),
        adopts: None,
        drill: None,
        plan_path: "plans/region-failover.yaml".into(),
        inventory_path: "inventories/sandbox.yaml".into(),
        provider_paths: Vec::new(),
    }
}

/// Events with their numbers and times.
#[derive(Default)]
pub struct Night {
    pub events: Vec<Event>,
}

impl Night {
    pub fn says(&mut self, second: i64, what: What) {
        self.events.push(Event {
            seq: self.events.len() as u64 + 1,
            at: at(second),
            ms: second.unsigned_abs() * 1000,
            what,
        });
    }

    pub fn state(&self) -> RunState {
        RunState::replay(&self.events).unwrap()
    }

    pub fn ends(&mut self, second: i64) {
        let (result, because) = judge(&self.state());
        self.says(second, What::Ended { result, because });
    }
}

pub fn intent(name: &str) -> What {
    What::Intent {
        step: id(name),
        attempt: 1,
        on: String::new(),
    }
}

pub fn done(name: &str, seen: &[(&str, &str)]) -> What {
    What::Done {
        step: id(name),
        already: false,
        output: Output::new(),
        evidence: seen
            .iter()
            .map(|(what, saw)| Evidence::new(*what, saw))
            .collect(),
        open: Vec::new(),
    }
}

pub fn failed(name: &str, reason: Reason, message: &str) -> What {
    What::Failed {
        step: id(name),
        failure: Failure::new(reason, message),
    }
}

pub fn steps() -> Vec<BoundStep> {
    let mut media = step(
        "media",
        "restore `shop-media` on web",
        Effect::Write,
        &["web"],
    );
    media.critical = false;
    let mut thumbnails = step(
        "thumbnails",
        "make thumbnails again",
        Effect::Write,
        &["media"],
    );
    thumbnails.critical = false;
    let mut db = step(
        "db",
        "create server `db` at hetzner/nbg1",
        Effect::Create,
        &["assess"],
    );
    db.expect = Some(minutes(1));
    let mut drill = step("purge", "purge the rehearsal", Effect::Destroy, &[]);
    drill.left_out = Some("only in a drill".into());
    let mut tell = step("tell", "tell ops", Effect::Tell, &[]);
    tell.finally = true;
    vec![
        step(
            "assess",
            "check the backups of 2 datasets",
            Effect::Read,
            &[],
        ),
        db,
        step(
            "web",
            "create server `web` at hetzner/nbg1",
            Effect::Create,
            &["assess"],
        ),
        step(
            "restore-db",
            "restore `shop-db` on db",
            Effect::Write,
            &["db"],
        ),
        media,
        thumbnails,
        step(
            "go",
            "move the shop's traffic?",
            Effect::Read,
            &["restore-db", "web"],
        ),
        step("dns", "point shop.example at web", Effect::Traffic, &["go"]),
        drill,
        tell,
    ]
}

fn server(name: &str, number: &str) -> Resource {
    Resource {
        kind: "server".into(),
        account: "hetzner".into(),
        id: number.into(),
        name: name.into(),
    }
}

/// Up to the question: a retry, a failure that is not critical, and what it dooms.
pub fn until_the_question() -> Night {
    let mut night = Night::default();
    let mut header = header(steps());
    header.health = Some(HealthRule {
        hold: Duration::from_secs(30),
        within: minutes(5),
        checks: vec!["GET https://shop.example/health".into()],
    });
    night.says(0, What::Header(Box::new(header)));
    night.says(
        0,
        What::Prechecked {
            step: Some(id("assess")),
            finding: Finding::verified("credentials of hetzner answer"),
        },
    );
    night.says(
        0,
        What::Prechecked {
            step: Some(id("media")),
            finding: Finding::warning(
                "the newest backup of `shop-media` is 31h old, 25h are allowed",
            ),
        },
    );
    night.says(
        1,
        What::Observed {
            step: id("assess"),
            observation: Observation::Absent,
        },
    );
    night.says(1, intent("assess"));
    night.says(
        4,
        done(
            "assess",
            &[
                ("shop-db backup", "2 h old, decryptable"),
                ("shop-media backup", "31 h old"),
            ],
        ),
    );
    night.says(4, intent("db"));
    night.says(4, intent("web"));
    night.says(
        5,
        What::Made {
            step: id("db"),
            resource: server("shop-db-r", "4711"),
        },
    );
    night.says(
        6,
        What::Retry {
            step: id("web"),
            attempt: 1,
            failure: Failure::new(
                Reason::NoCapacity,
                "hetzner/nbg1 has no room for cx22\n(resource_unavailable)",
            ),
            after: Duration::from_secs(5),
        },
    );
    night.says(
        11,
        What::Intent {
            step: id("web"),
            attempt: 2,
            on: "hetzner/hel1".into(),
        },
    );
    night.says(
        12,
        What::Made {
            step: id("web"),
            resource: server("shop-web-r", "4712"),
        },
    );
    night.says(70, done("db", &[("ssh", "answers")]));
    night.says(
        70,
        What::Observed {
            step: id("restore-db"),
            observation: Observation::Absent,
        },
    );
    night.says(70, intent("restore-db"));
    for (second, done) in [(71, 0), (74, 1 << 28), (82, 3 << 28)] {
        night.says(
            second,
            What::Progress {
                step: id("restore-db"),
                phase: "fetch".into(),
                done,
                total: Some(1 << 30),
                unit: "bytes".into(),
            },
        );
    }
    night.says(90, done("web", &[("ssh", "answers")]));
    night.says(90, intent("media"));
    night.says(
        91,
        What::Log {
            step: id("media"),
            line: "tar: Unexpected EOF in archive".into(),
        },
    );
    night.says(92, What::Failed {
        step: id("media"),
        failure: Failure::new(Reason::Damaged, "the archive `media-0314.tar.zst` is cut off\n\u{1b}[31mzstd: premature end\u{1b}[0m")
            .hint("dr-plan mark r6t8v0zz media --skip --because ..."),
    });
    night.says(
        92,
        What::Doomed {
            step: id("thumbnails"),
            cause: id("media"),
        },
    );
    night.says(
        140,
        What::Newest {
            step: id("restore-db"),
            dataset: "shop-db".into(),
            at: "2026-03-14T02:04:10Z".parse().unwrap(),
            backup_taken: Some("2026-03-14T02:05:00Z".parse().unwrap()),
            limit: Some(minutes(15)),
            taken_as_utc: Vec::new(),
        },
    );
    night.says(
        140,
        done(
            "restore-db",
            &[("select count(*) from users", "1204, wanted >= 1000")],
        ),
    );
    night.says(
        140,
        What::Asked {
            step: id("go"),
            ask: Ask {
                name: "approve".into(),
                kind: AskKind::Approval,
                question: "Move the shop's traffic to the new region?".into(),
                details: vec!["shop-db: newest record 02:04:10".into()],
                timeout: Some(minutes(20)),
                by: Vec::new(),
            },
        },
    );
    night
}

/// To a good end, with exceptions.
pub fn with_a_yes() -> Night {
    let mut night = until_the_question();
    night.says(
        200,
        What::Answered {
            step: id("go"),
            name: "approve".into(),
            yes: true,
            by: "grace".into(),
            because: Some("the old region is gone".into()),
            how: "command".into(),
        },
    );
    night.says(200, done("go", &[]));
    night.says(200, intent("dns"));
    let mut moved = done("dns", &[("all name servers", "203.0.113.80")]);
    if let What::Done { open, .. } = &mut moved {
        open.push(Open {
            what: "resolvers may still answer 203.0.113.10 for shop.example A".into(),
            until: Some("2026-03-14T02:15:03Z".parse().unwrap()),
        });
    }
    night.says(203, moved);
    let green = || vec![Evidence::new("GET https://shop.example/health", "200")];
    night.says(
        204,
        What::Health {
            green: true,
            evidence: green(),
        },
    );
    night.says(
        235,
        What::Health {
            green: true,
            evidence: green(),
        },
    );
    night.says(235, What::Healthy { since: at(204) });
    night.says(235, intent("tell"));
    night.says(236, done("tell", &[]));
    night.ends(236);
    night
}

/// To a stop: something foreign answers at the new address; a person skips, then a resume.
pub fn with_a_block() -> Night {
    let mut night = until_the_question();
    night.says(
        200,
        What::Answered {
            step: id("go"),
            name: "approve".into(),
            yes: true,
            by: "grace".into(),
            because: None,
            how: "terminal".into(),
        },
    );
    night.says(200, done("go", &[]));
    night.says(
        201,
        What::Blocked {
            step: id("dns"),
            observation: Observation::Foreign {
                what:
                    "shop.example has the records 198.51.100.9, which this run did not find before"
                        .into(),
                hint: Some("dr-plan mark r6t8v0zz dns --skip --because ...".into()),
            },
        },
    );
    night.says(
        201,
        What::Stopped {
            why: "`dns` waits for a person".into(),
            hint: Some("dr-plan resume r6t8v0zz".into()),
        },
    );
    night
}

pub fn skip(name: &str) -> What {
    What::Marked {
        step: id(name),
        mark: Mark::Skip,
        by: "ada".into(),
        because: "done by hand".into(),
    }
}
