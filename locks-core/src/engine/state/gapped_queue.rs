use std::collections::VecDeque;

use super::QueuePosition;

/// What stands at places, in their order.
///
/// Nearly everything happens at its two ends. Who leaves from the middle leaves a gap.
///
/// * L1: places ascend, and a gap keeps its place.
/// * L2: there is no gap at either end, and there are not many more gaps than others.
pub(super) struct GappedQueue<T> {
    entries: VecDeque<(QueuePosition, Option<T>)>,
    gaps: usize,
}

/// So many gaps are no reason to close them up.
const FEW: usize = 16;

impl<T> GappedQueue<T> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), gaps: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.gaps
    }

    pub(super) fn first(&self) -> Option<(QueuePosition, &T)> {
        self.iter().next()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (QueuePosition, &T)> {
        self.entries.iter().filter_map(|(place, entry)| Some((*place, entry.as_ref()?)))
    }

    pub(super) fn get(&self, place: QueuePosition) -> Option<&T> {
        self.entries[self.find(place)?].1.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: QueuePosition) -> Option<&mut T> {
        let index = self.find(place)?;
        self.entries[index].1.as_mut()
    }

    /// Puts `value` at a place where nothing has stood before.
    pub(super) fn insert(&mut self, place: QueuePosition, value: T) {
        let entry = (place, Some(value));
        match self.entries.back() {
            Some((last, _)) if *last > place => {
                let index = self.entries.partition_point(|(found, _)| *found < place);
                self.entries.insert(index, entry);
            }
            _ => self.entries.push_back(entry),
        }
    }

    pub(super) fn remove(&mut self, place: QueuePosition) -> Option<T> {
        if self.gaps == 0 && self.entries.front().is_some_and(|(first, _)| *first == place) {
            return self.entries.pop_front()?.1;
        }
        let index = self.find(place)?;
        let value = self.entries[index].1.take()?;
        self.gaps += 1;
        while matches!(self.entries.front(), Some((_, None))) {
            self.entries.pop_front();
            self.gaps -= 1;
        }
        while matches!(self.entries.back(), Some((_, None))) {
            self.entries.pop_back();
            self.gaps -= 1;
        }
        if self.gaps > FEW && self.gaps > self.len() {
            self.entries.retain(|(_, entry)| entry.is_some());
            self.entries.shrink_to(self.entries.len() * 2);
            self.gaps = 0;
        }
        Some(value)
    }

    fn find(&self, place: QueuePosition) -> Option<usize> {
        let is_it =
            |entry: Option<&(QueuePosition, _)>| entry.is_some_and(|(found, _)| *found == place);
        match self.entries.len() {
            _ if is_it(self.entries.front()) => Some(0),
            len if is_it(self.entries.back()) => Some(len - 1),
            _ => self.entries.binary_search_by_key(&place, |(found, _)| *found).ok(),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Moment;

    #[test]
    fn it_is_a_map_whose_places_are_used_once() {
        let mut line = GappedQueue::new();
        let mut naive = BTreeMap::new();
        let mut random = 7_u64;
        let (mut back, mut front) = (0, 0);
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // More come than go, and then the other way round.
            let come = if step % 4_000 < 2_000 { 6 } else { 3 };
            let place = match random >> 60 {
                0 => Some((&mut front, true)),
                chance if chance < come => Some((&mut back, false)),
                _ => None,
            };
            if let Some((next, upgrades)) = place {
                *next += 1;
                let place = QueuePosition::new(Moment::from_nanos(*next), upgrades, step);
                line.insert(place, step);
                naive.insert(place, step);
            } else if !naive.is_empty() {
                let nth = (random >> 20) as usize % naive.len();
                let nth = if random >> 63 == 0 { 0 } else { nth };
                let place = *naive.keys().nth(nth).unwrap();
                assert_eq!(line.get(place), naive.get(&place));
                assert_eq!(line.get_mut(place), naive.get_mut(&place));
                assert_eq!(line.remove(place), naive.remove(&place));
                assert_eq!(line.remove(place), None);
                assert_eq!(line.get(place), None);
            }
            assert_eq!((line.len(), line.is_empty()), (naive.len(), naive.is_empty()));
            assert!(line.gaps <= FEW.max(line.len()), "L2: {} of {}", line.gaps, line.len());
            let first = naive.first_key_value().map(|(place, value)| (*place, value));
            assert_eq!(line.first(), first);
            if step % 100 == 0 {
                assert!(line.iter().eq(naive.iter().map(|(place, value)| (*place, value))));
            }
        }
    }
}
