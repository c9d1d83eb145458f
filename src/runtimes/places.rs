//! The places of those who wait for runtimes: there are so many, and nobody may have all of them.

use tokio::sync::{Semaphore, SemaphorePermit};

/// One tenant's requests must not shut out the others.
const TENANTS_PART: usize = 4;
/// Guests at one runtime must not shut out the tenant's own.
const GUESTS_PART: usize = 8;
/// A few tenants must not do together what one must not: of anybody, once half of the places are taken.
const SCARCE_PART: usize = 16;

/// The places of one flowgate.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    all: Semaphore,
    /// Those that guests may have: half of all.
    guests: Semaphore,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    _any: SemaphorePermit<'a>,
    _guests: Option<SemaphorePermit<'a>>,
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { max, all: Semaphore::new(max), guests: Semaphore::new(max.div_ceil(2)) }
    }

    /// A place at a runtime for which so many wait already, and so many of those are guests; `None` if
    /// there is none.
    pub(super) fn take(&self, is_guest: bool, (crowd, guests): (usize, usize)) -> Option<Held<'_>> {
        let is_scarce = self.all.available_permits() < self.max / 2;
        let (there, part) = match (is_guest, is_scarce) {
            (true, false) => (crowd, GUESTS_PART),
            (true, true) => (crowd, SCARCE_PART),
            (false, false) => (crowd, TENANTS_PART),
            // Whatever guests have by then.
            (false, true) => (crowd.saturating_sub(guests), SCARCE_PART),
        };
        if there >= self.max.div_ceil(part) {
            return None;
        }
        let guests = is_guest.then(|| self.guests.try_acquire()).transpose();
        Some(Held { _any: self.all.try_acquire().ok()?, _guests: guests.ok()? })
    }

    /// How many are taken, and how many there are.
    pub(super) fn counts(&self) -> (u64, u64) {
        let taken = self.max.saturating_sub(self.all.available_permits());
        (taken as u64, self.max as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as there are to be had at runtimes of which each has as many as may wait there.
    fn take_all(places: &Places, is_guest: bool) -> (Vec<Held<'_>>, Vec<usize>) {
        let (mut held, mut crowds) = (Vec::new(), Vec::new());
        loop {
            let before = held.len();
            let there = |crowd: usize| (crowd, if is_guest { crowd } else { 0 });
            while let Some(place) = places.take(is_guest, there(held.len() - before)) {
                held.push(place);
            }
            if held.len() == before {
                return (held, crowds);
            }
            crowds.push(held.len() - before);
        }
    }

    #[test]
    fn guests_leave_half_of_the_places() {
        let places = Places::new(160);
        let (guests, crowds) = take_all(&places, true);
        assert_eq!((guests.len(), &crowds[..]), (80, &[20; 4][..]));
        let (own, _) = take_all(&places, false);
        assert_eq!((own.len(), places.counts()), (80, (160, 160)));
        drop((guests, own));
        assert_eq!(places.counts(), (0, 160));
    }

    #[test]
    fn four_tenants_do_not_have_all() {
        let places = Places::new(160);
        let (held, crowds) = take_all(&places, false);
        assert_eq!(held.len(), 160);
        assert_eq!(crowds, [40, 40, 10, 10, 10, 10, 10, 10, 10, 10], "until half are taken");
    }

    #[test]
    fn guests_take_no_place_from_the_tenant_when_places_are_scarce() {
        let places = Places::new(160);
        let guests: Vec<_> = (0..20).map_while(|there| places.take(true, (there, there))).collect();
        let _others: Vec<_> =
            (0..80).map_while(|there| places.take(false, (there % 20, 0))).collect();
        assert_eq!((guests.len(), places.counts().0), (20, 90));
        assert!(places.take(true, (20, 20)).is_none());
        let own: Vec<_> = (0..20).map_while(|own| places.take(false, (20 + own, 20))).collect();
        assert_eq!(own.len(), 10);
    }

    #[test]
    fn there_is_one_where_there_is_but_one() {
        for is_guest in [true, false] {
            let places = Places::new(1);
            let held = places.take(is_guest, (0, 0));
            assert!(held.is_some() && places.take(is_guest, (1, 0)).is_none());
        }
    }
}
