//! A fence and a provider that limits, stumbles, refuses or is gone: only one that cannot be asked makes room for a
//! person's word, or for leaving the fence out.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dr_plan::action::{Action, Context, Given, Person};
use dr_plan::event::Ask;
use dr_plan::ids::StepId;
use dr_plan::kind::{Failure, Observation, Reason, Surety};
use dr_plan::plan::IfSourceLost;
use dr_plan::provider::{Power, Provider};
use serde_json::{Value, json};

use super::simulated::World;
use super::taken_back::{bound_so, run_at};

const ALL: [IfSourceLost; 3] = [IfSourceLost::Fail, IfSourceLost::Attest, IfSourceLost::Skip];

/// Vouches for everything, and counts how often that was wanted.
#[derive(Default)]
struct Vouches(Mutex<usize>);

#[async_trait]
impl Person for Vouches {
    async fn ask(&self, _step: &StepId, _ask: Ask) -> Result<Given, Failure> {
        *self.0.lock().unwrap() += 1;
        Ok(Given {
            yes: true,
            by: "ada".into(),
            because: Some("I pulled the plug".into()),
        })
    }
}

/// A fence with five seconds: a silent provider counts as lost after one.
fn fence(lost: IfSourceLost) -> Box<dyn Action> {
    let patience = Some(Duration::from_secs(5));
    bound_so(
        "server.power",
        "{ server: web, state: off }",
        lost,
        patience,
    )
}

fn begun(world: &World) -> (Context, Arc<Vouches>) {
    let person = Arc::new(Vouches::default());
    let cx = Context {
        person: person.clone(),
        // A lock that is not lifted is waited for only shortly.
        ..run_at(Arc::new(world.hetzner().patience(Duration::from_secs(1))))
    };
    (cx, person)
}

fn untouched(cx: &Context, person: &Vouches) {
    assert_eq!(*person.0.lock().unwrap(), 0, "nobody is to be asked");
    for note in ["skipped", "attested"] {
        assert!(cx.noted(note).is_none(), "{note}");
    }
}

fn status(status: u16, retry_after: Option<u64>) -> Value {
    json!({ "status": { "status": status, "retry_after": retry_after } })
}

#[tokio::test]
async fn a_rate_limit_and_a_locked_server_are_no_lost_source() {
    for lost in ALL {
        let world = World::new().await;
        world.server("web").await;
        let action = fence(lost);
        // The server is locked by somebody's work on it: that passes.
        world.fault(json!({ "method": "POST", "path": "*/actions/poweroff", "always": true, "kind": status(423, None) }));
        let (cx, person) = begun(&world);
        let failed = action.apply(&cx).await.unwrap_err();
        assert_eq!(failed.reason, Reason::Busy, "{failed}");
        untouched(&cx, &person);
        // Every question is turned away, for an hour.
        world.fault(json!({ "path": "*", "always": true, "kind": status(429, Some(3600)) }));
        let (cx, person) = begun(&world);
        for failed in [
            action.precheck(&cx).await.unwrap_err(),
            action.observe(&cx).await.unwrap_err(),
            action.apply(&cx).await.unwrap_err(),
        ] {
            assert_eq!(failed.reason, Reason::RateLimited, "{failed}");
            assert_eq!(failed.retry_after, Some(Duration::from_secs(3600)));
        }
        untouched(&cx, &person);

        // And when it has passed, the provider itself proves the fence.
        world.cloud.faults().lift_all();
        action.apply(&cx).await.unwrap();
        let proof = action.verify(&cx).await.unwrap();
        assert_eq!(proof.output["proof"], "provider");
        untouched(&cx, &person);
    }
}

#[tokio::test]
async fn a_provider_that_stumbles_is_asked_again_before_it_counts_as_lost() {
    for lost in [IfSourceLost::Attest, IfSourceLost::Skip] {
        let world = World::new().await;
        world.server("web").await;
        // More than one call's own tries.
        world.fault(json!({ "path": "*", "times": 5, "kind": "reset" }));
        let (cx, person) = begun(&world);
        let action = bound_so(
            "server.power",
            "{ server: web, state: off }",
            lost,
            Some(Duration::from_secs(100)),
        );
        action.apply(&cx).await.unwrap();
        untouched(&cx, &person);
        let server = world.hetzner().by_name("web").await.unwrap().unwrap();
        assert_eq!(server.power, Power::Off);
    }
}

#[tokio::test]
async fn a_provider_that_is_gone_leaves_the_fence_to_a_persons_word_or_out() {
    // Gone for good is known only after a while; a refusal is known at once.
    let broken = |code| json!({ "status": { "status": code, "code": "server_error" } });
    for (kind, slow) in [
        (json!("reset"), true),
        (broken(503), true),
        (status(403, None), false),
        (status(404, None), false),
    ] {
        for lost in ALL {
            let world = World::new().await;
            world.server("web").await;
            world.fault(json!({ "path": "*", "always": true, "kind": kind }));
            let action = fence(lost);
            let (cx, person) = begun(&world);
            let found = action.precheck(&cx).await.unwrap();
            assert!(found[0].warning && found[0].surety == Surety::CannotBeChecked);
            let saw = action.observe(&cx).await;
            let since = Instant::now();
            let came = action.apply(&cx).await;
            let took = since.elapsed();
            let asked = *person.0.lock().unwrap();
            match lost {
                IfSourceLost::Fail => {
                    assert!(saw.is_err(), "{kind}: {saw:?}");
                    let failed = came.unwrap_err();
                    assert!(failed.hint.unwrap().contains("--skip"));
                    untouched(&cx, &person);
                    continue;
                }
                IfSourceLost::Attest => {
                    assert_eq!(asked, 1);
                    assert!(cx.noted("attested").is_some());
                }
                IfSourceLost::Skip => {
                    assert_eq!(asked, 0);
                    assert!(cx.noted("skipped").is_some());
                }
            }
            assert!(matches!(saw, Ok(Observation::Unseen { .. })), "{saw:?}");
            came.unwrap();
            assert_eq!(slow, took >= Duration::from_millis(900), "{kind}: {took:?}");
            assert_eq!(action.observe(&cx).await.unwrap(), Observation::Done);
            assert!(!action.verify(&cx).await.unwrap().open.is_empty());
        }
    }
}
