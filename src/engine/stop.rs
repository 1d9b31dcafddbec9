//! How a run is asked to stop: once politely, twice at once.

use tokio::sync::watch;

/// What somebody wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Go on.
    Go,
    /// Start nothing new; wait for what works. Questions to people and plain waits are dropped.
    Drain,
    /// Leave now; what runs on hosts goes on there.
    Leave,
}

/// The side that asks.
#[derive(Clone)]
pub struct StopHandle(std::sync::Arc<watch::Sender<Wish>>);

impl StopHandle {
    /// Asks; a wish is never taken back.
    pub fn wish(&self, wish: Wish) {
        self.0.send_if_modified(|now| {
            let more = wish > *now;
            if more {
                *now = wish;
            }
            more
        });
    }

    /// One more Ctrl-C: the next stronger wish.
    pub fn press(&self) -> Wish {
        let next = match *self.0.borrow() {
            Wish::Go => Wish::Drain,
            _ => Wish::Leave,
        };
        self.wish(next);
        next
    }
}

/// The side that listens.
#[derive(Clone)]
pub struct Stop(watch::Receiver<Wish>);

impl Stop {
    /// A pair of ends.
    pub fn new() -> (StopHandle, Stop) {
        let (sender, receiver) = watch::channel(Wish::Go);
        (StopHandle(std::sync::Arc::new(sender)), Stop(receiver))
    }

    /// The wish now.
    pub fn now(&self) -> Wish {
        *self.0.borrow()
    }

    /// Returns when the wish has grown; never, when nobody can ask any more.
    pub async fn changed(&mut self) -> Wish {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }
}
