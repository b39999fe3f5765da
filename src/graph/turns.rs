//! A group lock: held by many readers, or by many linkers, or by one exclusive user.
//!
//! No group starves: once another group waits, newcomers of the present group queue behind it.

use crate::sync::{Condvar, Mutex, MutexGuard};

/// The groups of users that may hold the lock together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Searches; any number.
    Read,
    /// Steps that add one row to the graph; any number.
    Link,
    /// Moves of the graph's arrays; one at a time.
    Exclusive,
}

/// The order in which waiting groups follow each other.
const CYCLE: [Access; 3] = [Access::Read, Access::Link, Access::Exclusive];

/// The lock. Not reentrant: a thread that holds it must not wait for it again.
pub(super) struct Turns {
    state: Mutex<State>,
    turn: [Condvar; 3],
}

struct State {
    /// The group that holds the lock; meaningless while `count` is 0.
    inside: Access,
    count: usize,
    waiting: [usize; 3],
    /// For each group, threads that have waited and are counted as inside, but have not woken yet.
    admitted: [usize; 3],
}

impl State {
    fn enter_now(&self, access: Access) -> bool {
        let others_wait = CYCLE.iter().any(|&other| other != access && self.waiting[other as usize] > 0);
        self.count == 0 || (self.inside == access && access != Access::Exclusive && !others_wait)
    }

    /// Lets the next waiting group in, and returns it. Called when nobody holds the lock.
    fn hand_over(&mut self) -> Option<Access> {
        let next =
            (1..=3).map(|step| CYCLE[(self.inside as usize + step) % 3]).find(|&g| self.waiting[g as usize] > 0)?;
        let waiting = &mut self.waiting[next as usize];
        let admitted = if next == Access::Exclusive { 1 } else { *waiting };
        *waiting -= admitted;
        self.admitted[next as usize] += admitted;
        self.inside = next;
        self.count = admitted;
        Some(next)
    }
}

impl Turns {
    /// A lock that nobody holds.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State { inside: Access::Read, count: 0, waiting: [0; 3], admitted: [0; 3] }),
            turn: [Condvar::new(), Condvar::new(), Condvar::new()],
        }
    }

    /// Waits for the lock.
    pub(super) fn enter(&self, access: Access) -> Turn<'_> {
        self.enter_unless(access, &|| false).expect("not refused")
    }

    /// As `enter`, but returns `None` if `refused` is true. `refused` is asked once, before the wait, so every caller that comes after it
    /// has turned true is refused.
    pub(super) fn enter_unless(&self, access: Access, refused: &dyn Fn() -> bool) -> Option<Turn<'_>> {
        let mut state = self.state();
        if refused() {
            return None;
        }
        if state.enter_now(access) {
            state.inside = access;
            state.count += 1;
            return Some(Turn { turns: self });
        }
        state.waiting[access as usize] += 1;
        while state.admitted[access as usize] == 0 {
            self.turn[access as usize].wait(&mut state);
        }
        state.admitted[access as usize] -= 1;
        Some(Turn { turns: self })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// A hold of the lock, until this is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.count -= 1;
        if state.count == 0
            && let Some(next) = state.hand_over()
        {
            drop(state);
            self.turns.turn[next as usize].notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn groups_never_mix_and_none_starves() {
        let turns = Turns::new();
        let inside: [AtomicUsize; 3] = Default::default();
        let visits: [AtomicUsize; 3] = Default::default();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for access in [Access::Read, Access::Read, Access::Read, Access::Link, Access::Link, Access::Exclusive] {
                let (turns, inside, visits, stop) = (&turns, &inside, &visits, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _turn = turns.enter(access);
                        let same = inside[access as usize].fetch_add(1, Ordering::SeqCst) + 1;
                        for other in CYCLE.into_iter().filter(|&other| other != access) {
                            assert_eq!(inside[other as usize].load(Ordering::SeqCst), 0);
                        }
                        assert!(access != Access::Exclusive || same == 1);
                        std::thread::yield_now();
                        visits[access as usize].fetch_add(1, Ordering::Relaxed);
                        inside[access as usize].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            // A group that starves is never done; then the visits of another group reach the limit.
            let visits = |access: &Access| visits[*access as usize].load(Ordering::Relaxed);
            let done = || CYCLE.iter().all(|access| visits(access) > 50);
            while !done() && CYCLE.iter().all(|access| visits(access) < 1_000_000) {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(done(), "a group starved");
        });
    }

    /// While a linker waits, a second searcher must queue behind it.
    #[test]
    fn newcomers_queue_when_the_other_group_waits() {
        let turns = Turns::new();
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let first = turns.enter(Access::Read);
            scope.spawn(|| {
                let _turn = turns.enter(Access::Link);
                order.lock().push(Access::Link);
            });
            while turns.state().waiting[Access::Link as usize] == 0 {
                std::thread::yield_now();
            }
            scope.spawn(|| {
                let _turn = turns.enter(Access::Read);
                order.lock().push(Access::Read);
            });
            while turns.state().waiting[Access::Read as usize] == 0 {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(*order.lock(), [Access::Link, Access::Read]);
    }
}
