//! What statements owe: each statement does the work that its own changes make, when it ends.
//!
//! When a statement ends, it links the rows that it has appended and frees the slots of rows that it has deleted, as far as the background
//! has not done so. So no rhythm of changes makes the pending rows or the slots grow without bound. Some rows are owed by no statement:
//! those of a log or of a scan of the table, those of a statement that was stopped, and deleted rows that a snapshot sees until all
//! statements that deleted them are over. There may be any number of these at once. The background works them off, and each statement does
//! a fixed piece of that work, plus as much as it has deleted rows. So rows that a series of short snapshots keeps do not accumulate
//! either.
//!
//! The host changes an index, and asks what is owed for the change, on the thread that commits. So there is one account a thread.

use std::ops::Range;

/// Guarded by the row lock. Nothing here allocates.
#[derive(Default)]
pub(super) struct Debts {
    /// Rows that statements owe to link: those appended since few rows were last pending, plus those that a renewal made pending on behalf
    /// of deleted rows, less those that statements have linked since.
    pub(super) links: usize,
    /// Rows that statements have deleted and that are not dead yet.
    deaths: usize,
    /// Accounts of the threads that have changed rows and not called `take_own` since; the latest is last.
    accounts: [Account; ACCOUNTS],
}

/// Most threads with an account. If there are more, the oldest account is lost, and no statement owes its work.
const ACCOUNTS: usize = 16;

#[derive(Clone, Default)]
struct Account {
    /// 0: the account is free.
    thread: usize,
    own: Own,
    /// A range of row ids that covers all rows that the thread has appended, and maybe others.
    appended: Range<i64>,
}

/// The share of the work that one statement has made itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Rows that the statement has appended.
    pub appended: usize,
    /// Rows that the statement has deleted.
    pub deleted: usize,
}

impl Debts {
    /// Notes that this thread appends rows.
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

    /// Notes that this thread deletes a row. If the thread has just appended that row, its commit has failed, and the row is taken back.
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

    /// Notes that no statement owes the work for `rows` of the rows that this thread has deleted.
    pub(super) fn forgive_deleted(&mut self, rows: usize) {
        self.deaths = self.deaths.saturating_sub(rows);
        let own = &mut self.account().own;
        own.deleted = own.deleted.saturating_sub(rows);
    }

    /// Notes that a deleted row dies. Returns whether a statement owes the work that this makes.
    pub(super) fn take_death(&mut self) -> bool {
        let owed = self.deaths > 0;
        self.deaths = self.deaths.saturating_sub(1);
        owed
    }

    /// What this thread has changed since the last call. Clears its account.
    pub(super) fn take_own(&mut self) -> Own {
        let thread = crate::sync::thread::key();
        let account = self.accounts.iter_mut().find(|account| account.thread == thread);
        account.map(std::mem::take).unwrap_or_default().own
    }

    /// Notes that a statement has ended. The rows that it has deleted and that are not dead wait for snapshots, and are owed no more;
    /// `committing` rows are deletions of other statements, which stay owed. Instead the ended statement works off as many unowed slots as
    /// it has deleted rows.
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
