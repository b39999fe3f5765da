//! What statements owe: the work that their own changes make, done by each of them when it ends.
//!
//! Rows that a statement appends are linked, and slots of rows that it deletes freed, when it ends, as far as the background has not done
//! it. So no rhythm of changes makes pending rows, or slots, more and more. Other rows are nobody's: those of a log or of a scan of the
//! table, those of a statement that was stopped, and deleted ones that a snapshot sees until all statements that deleted them are over.
//! There may be any number of them at once. The background works them off, and every statement does a piece of that, and as much as it
//! has deleted rows: so those are not more and more either which snapshots keep for a moment only, one after the other.
//!
//! The host changes an index, and asks for what that owes, on the thread that commits. So an account is a thread's.

use std::ops::Range;

/// Guarded by the row lock. Nothing here allocates.
#[derive(Default)]
pub(super) struct Debts {
    /// Rows that statements have appended since few were pending, or have left alone in a graph that was given up for what they have
    /// deleted, less those that were linked by statements.
    pub(super) links: usize,
    /// Rows that statements have deleted, and that are not dead yet.
    deaths: usize,
    /// Of the threads that have changed something and not asked for it, the latest last.
    accounts: [Account; ACCOUNTS],
}

/// Threads that commit at a time. What one of more has done is nobody's.
const ACCOUNTS: usize = 16;

#[derive(Clone, Default)]
struct Account {
    /// 0: nobody's.
    thread: usize,
    own: Own,
    /// Row ids of what it has appended, and maybe of others between these.
    appended: Range<i64>,
}

/// What is a statement's own of the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Rows that it has appended.
    pub appended: usize,
    /// Rows that it has deleted.
    pub deleted: usize,
}

impl Debts {
    /// This thread appends rows.
    pub(super) fn add_appended(&mut self, row_ids: &[i64]) {
        let (Some(&first), Some(&last)) = (row_ids.iter().min(), row_ids.iter().max()) else { return };
        self.links += row_ids.len();
        let account = self.account();
        account.own.appended += row_ids.len();
        account.appended = if account.appended.is_empty() {
            first..last + 1
        } else {
            account.appended.start.min(first)..account.appended.end.max(last + 1)
        };
    }

    /// This thread deletes a row. One that it has just appended is taken back: the commit has failed.
    pub(super) fn add_deleted(&mut self, row_id: i64) {
        self.deaths += 1;
        let account = self.account();
        if account.own.appended > 0 && account.appended.contains(&row_id) {
            account.own.appended -= 1;
            self.links = self.links.saturating_sub(1);
        } else {
            account.own.deleted += 1;
        }
    }

    /// So many rows that this thread has deleted are no statement's.
    pub(super) fn forgive_deleted(&mut self, rows: usize) {
        self.deaths = self.deaths.saturating_sub(rows);
        let own = &mut self.account().own;
        own.deleted = own.deleted.saturating_sub(rows);
    }

    /// A deleted row dies; whether a statement owes the work that it makes.
    pub(super) fn take_death(&mut self) -> bool {
        let owed = self.deaths > 0;
        self.deaths = self.deaths.saturating_sub(1);
        owed
    }

    /// What this thread has done since it was asked.
    pub(super) fn take_own(&mut self) -> Own {
        let thread = crate::sync::thread::key();
        let account = self.accounts.iter_mut().find(|account| account.thread == thread);
        account.map(std::mem::take).unwrap_or_default().own
    }

    /// A statement ends: rows that it has deleted, and that are not dead, wait for snapshots, but for those `committing`, which are
    /// another statement's. It owes the work for as many others as it has deleted instead.
    pub(super) fn settle(&mut self, committing: usize) {
        self.deaths = self.deaths.min(committing);
    }

    fn account(&mut self) -> &mut Account {
        let thread = crate::sync::thread::key();
        let found = self.accounts.iter().position(|account| account.thread == thread);
        let place = found.or_else(|| self.accounts.iter().position(|account| account.thread == 0)).unwrap_or(0);
        let last = ACCOUNTS - 1;
        self.accounts[place..].rotate_left(1);
        if found.is_none() {
            self.accounts[last] = Account { thread, ..Account::default() };
        }
        &mut self.accounts[last]
    }
}
