//! The files that are open, by number: what a request names one by, so that it need not hold it.
//!
//! May know: descriptors. Must not know: requests and rings. A number is used again when its file
//! is closed; the turn that comes with it tells one file from the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::open_file::Opened;

/// Names an open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) place: u32,
    pub(super) turn: u32,
}

#[derive(Default)]
pub(super) struct Files(Mutex<Table>);

#[derive(Default)]
struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Place {
    turn: u32,
    file: Option<Arc<Opened>>,
    /// The I/O threads that have asked for it, one bit each.
    users: u64,
}

impl Files {
    pub(super) fn open(&self, file: Arc<Opened>) -> FileName {
        let mut table = self.lock();
        let place = table.free.pop().unwrap_or_else(|| {
            table.places.push(Place::default());
            table.places.len() as u32 - 1
        });
        let entry = &mut table.places[place as usize];
        entry.file = Some(file);
        FileName {
            place,
            turn: entry.turn,
        }
    }

    /// The file, if it is open; and notes which I/O thread uses it.
    pub(super) fn get(&self, name: FileName, thread: usize) -> Option<Arc<Opened>> {
        let mut table = self.lock();
        let entry = table
            .places
            .get_mut(name.place as usize)
            .filter(|entry| entry.turn == name.turn)?;
        entry.users |= 1 << thread;
        entry.file.clone()
    }

    /// Forgets a file. Gives the I/O threads that use it, one bit each.
    pub(super) fn close(&self, name: FileName) -> u64 {
        let mut table = self.lock();
        let Some(entry) = table
            .places
            .get_mut(name.place as usize)
            .filter(|entry| entry.turn == name.turn)
        else {
            return 0;
        };
        let (file, users) = (entry.file.take(), std::mem::take(&mut entry.users));
        entry.turn = entry.turn.wrapping_add(1);
        table.free.push(name.place);
        drop(table);
        // Perhaps the last: closing may take its time.
        drop(file);
        users
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Arc<Opened> {
        Arc::new(Opened::new(std::fs::File::open("/dev/null").unwrap(), true).unwrap())
    }

    #[test]
    fn a_name_leads_to_its_own_file_only() {
        let (files, first, second) = (Files::default(), opened(), opened());
        let old = files.open(first.clone());
        assert!(Arc::ptr_eq(&files.get(old, 3).unwrap(), &first));
        assert_eq!(files.close(old), 1 << 3);
        let new = files.open(second.clone());
        assert_eq!((new.place, new == old), (old.place, false));
        assert!(files.get(old, 0).is_none() && Arc::ptr_eq(&files.get(new, 0).unwrap(), &second));
        assert_eq!((files.close(old), files.close(new)), (0, 1));
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
