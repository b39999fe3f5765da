//! What statements owe: the work that their own changes make, done by whoever ends a statement next.
//!
//! Rows that a statement appends are linked, and slots of rows that it deletes freed, when it ends, as far as the background has not done
//! it. So no rhythm of changes makes pending rows, or slots, more and more. Other rows are nobody's: those of a log or of a scan of the
//! table, and deleted ones that a snapshot sees until all statements that deleted them are over. There may be any number of them at
//! once. The background works them off, and every statement does a piece of that, and as much as it has deleted rows: so those are not
//! more and more either which snapshots keep for a moment only, one after the other.

/// Guarded by the row lock.
#[derive(Default)]
pub(super) struct Debts {
    /// Rows that statements have appended since few were pending, or have left alone in a graph that was given up for what they have
    /// deleted, less those that were linked by statements.
    pub(super) links: usize,
    /// Rows that were appended since a statement ended.
    appended: usize,
    /// Rows that statements have deleted, and that are not dead yet.
    deaths: usize,
    /// Rows that were deleted since a statement ended.
    deleted: usize,
}

/// What is a statement's own of this.
pub(super) struct Own {
    /// Rows that it has appended.
    pub(super) appended: usize,
    /// Rows that it has deleted.
    pub(super) deleted: usize,
}

impl Debts {
    /// A statement appends rows.
    pub(super) fn add_appended(&mut self, rows: usize) {
        self.links += rows;
        self.appended += rows;
    }

    /// A statement deletes rows.
    pub(super) fn add_deleted(&mut self, rows: usize) {
        self.deaths += rows;
        self.deleted += rows;
    }

    /// So many deleted rows are no statement's.
    pub(super) fn forgive_deleted(&mut self, rows: usize) {
        self.deaths = self.deaths.saturating_sub(rows);
        self.deleted = self.deleted.saturating_sub(rows);
    }

    /// A deleted row dies; whether a statement owes the work that it makes.
    pub(super) fn take_death(&mut self) -> bool {
        let owed = self.deaths > 0;
        self.deaths = self.deaths.saturating_sub(1);
        owed
    }

    /// A statement ends: rows that it has deleted, and that are not dead, wait for snapshots, but for those `committing`, which are
    /// another statement's. It owes the work for as many others as it has deleted instead.
    pub(super) fn settle(&mut self, committing: usize) -> Own {
        self.deaths = self.deaths.min(committing);
        Own { appended: std::mem::take(&mut self.appended), deleted: std::mem::take(&mut self.deleted) }
    }
}
