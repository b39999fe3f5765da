//! A group lock: many searchers, or many linkers, or one exclusive visitor.
//!
//! usearch lets additions run beside each other and searches beside each other, but not one beside the other. Neither
//! group may starve: once the other group waits, newcomers of the present one queue behind it. So a searcher waits at
//! most for the link steps that are running, and a linker at most for the graph walks that are running.

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who may be in the room together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Graph walks; any number.
    Search,
    /// Steps that add one row to the graph; any number.
    Link,
    /// Moves of the graph's arrays; one at a time.
    Exclusive,
}

/// The order in which waiting groups follow each other.
const CYCLE: [Group; 3] = [Group::Search, Group::Link, Group::Exclusive];

/// The lock. Not reentrant: a thread inside must not enter again.
pub struct Rooms {
    state: Mutex<State>,
    turn: [Condvar; 3],
}

struct State {
    /// The group inside; meaningless while `count` is 0.
    inside: Group,
    count: usize,
    waiting: [usize; 3],
    /// Waiting visitors already counted as inside that have not woken up yet.
    admitted: [usize; 3],
}

impl State {
    fn enter_now(&self, group: Group) -> bool {
        let others_wait = CYCLE.iter().any(|&other| other != group && self.waiting[other as usize] > 0);
        self.count == 0 || (self.inside == group && group != Group::Exclusive && !others_wait)
    }

    /// Lets the next waiting group in; returns it.
    fn hand_over(&mut self) -> Option<Group> {
        let next =
            (1..=3).map(|step| CYCLE[(self.inside as usize + step) % 3]).find(|&g| self.waiting[g as usize] > 0)?;
        let waiting = &mut self.waiting[next as usize];
        let admitted = if next == Group::Exclusive { 1 } else { *waiting };
        *waiting -= admitted;
        self.admitted[next as usize] += admitted;
        self.inside = next;
        self.count = admitted;
        Some(next)
    }
}

impl Rooms {
    /// An empty room.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State { inside: Group::Search, count: 0, waiting: [0; 3], admitted: [0; 3] }),
            turn: [Condvar::new(), Condvar::new(), Condvar::new()],
        }
    }

    /// Waits until `group` may be inside. The visit ends when the guard is dropped.
    pub fn enter(&self, group: Group) -> Visit<'_> {
        let mut state = self.state();
        if state.enter_now(group) {
            state.inside = group;
            state.count += 1;
            return Visit { rooms: self };
        }
        state.waiting[group as usize] += 1;
        while state.admitted[group as usize] == 0 {
            state = self.turn[group as usize].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.admitted[group as usize] -= 1;
        Visit { rooms: self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self::new()
    }
}

/// A stay in the room.
pub struct Visit<'a> {
    rooms: &'a Rooms,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut state = self.rooms.state();
        state.count -= 1;
        if state.count == 0
            && let Some(next) = state.hand_over()
        {
            drop(state);
            self.rooms.turn[next as usize].notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn groups_never_mix_and_none_starves() {
        let rooms = Rooms::new();
        let inside: [AtomicUsize; 3] = Default::default();
        let visits: [AtomicUsize; 3] = Default::default();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for group in [Group::Search, Group::Search, Group::Search, Group::Link, Group::Link, Group::Exclusive] {
                let (rooms, inside, visits, stop) = (&rooms, &inside, &visits, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _visit = rooms.enter(group);
                        let same = inside[group as usize].fetch_add(1, Ordering::SeqCst) + 1;
                        for other in CYCLE.into_iter().filter(|&other| other != group) {
                            assert_eq!(inside[other as usize].load(Ordering::SeqCst), 0);
                        }
                        assert!(group != Group::Exclusive || same == 1);
                        std::thread::yield_now();
                        visits[group as usize].fetch_add(1, Ordering::Relaxed);
                        inside[group as usize].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            // a group that starves is never done, and leaves the room to the others
            let visits = |group: &Group| visits[*group as usize].load(Ordering::Relaxed);
            let done = || CYCLE.iter().all(|group| visits(group) > 50);
            while !done() && CYCLE.iter().all(|group| visits(group) < 1_000_000) {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(done(), "a group starved");
        });
    }

    /// While a linker waits, a second searcher must queue behind it.
    #[test]
    fn newcomers_queue_when_the_other_group_waits() {
        let rooms = Rooms::new();
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let first = rooms.enter(Group::Search);
            scope.spawn(|| {
                let _visit = rooms.enter(Group::Link);
                order.lock().unwrap().push(Group::Link);
            });
            while rooms.state().waiting[Group::Link as usize] == 0 {
                std::thread::yield_now();
            }
            scope.spawn(|| {
                let _visit = rooms.enter(Group::Search);
                order.lock().unwrap().push(Group::Search);
            });
            while rooms.state().waiting[Group::Search as usize] == 0 {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [Group::Link, Group::Search]);
    }
}
