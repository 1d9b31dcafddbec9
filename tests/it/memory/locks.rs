//! One run that changes an estate at a time; a crash leaves nothing that blocks the next one, and
//! nobody is pushed aside by accident.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dr_plan::ids::RunId;
use dr_plan::journal::{Estates, FileEstates, LockError, Owner};

use super::night::at;

fn owner(run: &str) -> Owner {
    Owner::this_process(RunId::parse(run).unwrap(), "ada@bastion", at(0))
}

#[test]
fn two_runs_cannot_have_one_estate_and_the_second_is_told_who_has_it() {
    let state = tempfile::tempdir().unwrap();
    let estates = FileEstates::new(state.path());
    let held = estates.take("shop", &owner("01first")).unwrap();
    assert_eq!(held.before(), None);
    let Err(error) = estates.take("shop", &owner("01second")) else {
        panic!("two have it")
    };
    let words = error.to_string();
    let pid = std::process::id().to_string();
    for word in [
        "shop",
        "01first",
        "ada@bastion",
        &pid,
        "2026-03-14 02:14:00 UTC",
    ] {
        assert!(words.contains(word), "{words}");
    }
    // Another estate is another matter, also one whose name looks like a path.
    let other = estates.take("../shop", &owner("01second")).unwrap();
    other.check().unwrap();
    assert_eq!(
        estates.owner("shop").unwrap().unwrap().run.as_str(),
        "01first"
    );
    drop(held);
    assert_eq!(estates.owner("shop").unwrap(), None);
    // Who let go in peace is not worth a word.
    assert_eq!(
        estates.take("shop", &owner("01second")).unwrap().before(),
        None
    );
}

#[test]
fn a_takeover_needs_the_right_run_typed_and_the_old_owner_sees_it() {
    let state = tempfile::tempdir().unwrap();
    let estates = FileEstates::new(state.path());
    let old = estates.take("shop", &owner("01first")).unwrap();
    for typed in ["01second", "01firs", "", "yes"] {
        let refused = estates.take_over("shop", &owner("01second"), typed);
        assert!(matches!(refused, Err(LockError::Typed { .. })), "{typed}");
    }
    old.check().unwrap();
    let new = estates
        .take_over("shop", &owner("01second"), "01first")
        .unwrap();
    assert_eq!(new.before().unwrap().run.as_str(), "01first");
    let error = old.check().unwrap_err();
    assert!(matches!(error, LockError::Lost { .. }));
    assert!(error.to_string().contains("01second"), "{error}");
    // The old owner's going must not touch what the new one has.
    drop(old);
    new.check().unwrap();
    assert_eq!(
        estates.owner("shop").unwrap().unwrap().run.as_str(),
        "01second"
    );
    assert!(matches!(
        estates.take("shop", &owner("01third")),
        Err(LockError::Held { .. })
    ));
}

/// Another process that holds the lock as a run would.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_killed_process_held_is_free_and_its_card_is_read_out() {
    let state = tempfile::tempdir().unwrap();
    let estates = FileEstates::new(state.path());
    drop(estates.take("shop", &owner("01first")).unwrap());
    let file = state.path().join("estates/shop.lock");
    let dead = owner("01dead");
    std::fs::write(&file, serde_json::to_vec(&dead).unwrap()).unwrap();
    let holder = Command::new("flock")
        .args(["--no-fork"])
        .arg(&file)
        .args(["sleep", "600"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let holder = Holder(holder);
    let deadline = Instant::now() + Duration::from_secs(20);
    while estates.owner("shop").unwrap().is_none() {
        assert!(Instant::now() < deadline, "flock never held it");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        matches!(estates.take("shop", &owner("01next")), Err(LockError::Held { owner: Some(o), .. }) if *o == dead)
    );
    // SIGKILL, as a crash.
    drop(holder);
    let held = estates.take("shop", &owner("01next")).unwrap();
    assert_eq!(held.before(), Some(&dead));
}

#[test]
fn of_many_who_want_an_estate_at_once_one_gets_it() {
    let state = tempfile::tempdir().unwrap();
    let estates = FileEstates::new(state.path());
    let barrier = std::sync::Barrier::new(16);
    let got: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let (estates, barrier) = (&estates, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    estates.take("shop", &owner(&format!("01run{n}")))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(got.iter().filter(|one| one.is_ok()).count(), 1);
}
