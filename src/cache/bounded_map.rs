//! A map with room for so many entries; when it is full, one that was not used lately goes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Second chance rather than exact least-recently-used: a hit only sets a flag, so it is as cheap as a look-up.
pub(crate) struct BoundedMap<K, V> {
    slots: HashMap<K, Slot<V>>,
    order: VecDeque<K>,
    capacity: usize,
}

struct Slot<V> {
    value: V,
    used: bool,
}

impl<K: Copy + Eq + Hash, V> BoundedMap<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { slots: HashMap::new(), order: VecDeque::new(), capacity }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let slot = self.slots.get_mut(key)?;
        slot.used = true;
        Some(&slot.value)
    }

    /// As [`get`](Self::get), without counting as a use.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// Gives what had to go, so that a caller can drop it behind its lock.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(slot) = self.slots.get_mut(&key) {
            return Some(std::mem::replace(slot, Slot { value, used: true }).value);
        }
        let evicted = if self.slots.len() >= self.capacity { self.evict() } else { None };
        self.order.push_back(key);
        self.slots.insert(key, Slot { value, used: false });
        evicted
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.remove(key)?;
        self.order.retain(|other| other != key);
        Some(slot.value)
    }

    /// Ends, since each turn clears a flag or removes an entry.
    fn evict(&mut self) -> Option<V> {
        while let Some(key) = self.order.pop_front() {
            match self.slots.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.order.push_back(key);
                }
                _ => return self.slots.remove(&key).map(|slot| slot.value),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(capacity: usize) -> BoundedMap<u32, u32> {
        let mut map = BoundedMap::new(capacity);
        for key in 0..u32::try_from(capacity).unwrap() {
            map.insert(key, key * 10);
        }
        map
    }

    #[test]
    fn it_holds_as_many_as_it_may_and_no_more() {
        let mut map = filled(3);
        assert!((0..3).all(|key| map.get(&key) == Some(&(key * 10))));
        for key in 3..100 {
            map.insert(key, 0);
            assert_eq!((map.slots.len(), map.order.len()), (3, 3));
        }
    }

    #[test]
    fn what_was_used_stays_longer() {
        let mut map = filled(3);
        map.get(&0);
        map.insert(3, 30);
        assert!(map.get(&0).is_some());
        assert!(map.get(&1).is_none());
    }

    #[test]
    fn inserting_again_replaces() {
        let mut map = filled(2);
        map.insert(1, 11);
        assert_eq!(map.get(&1), Some(&11));
        assert_eq!((map.slots.len(), map.order.len()), (2, 2));
    }

    #[test]
    fn removing_makes_room_and_what_goes_is_given_back() {
        let mut map = filled(2);
        assert_eq!((map.remove(&1), map.remove(&1)), (Some(10), None));
        assert_eq!((map.insert(2, 20), map.insert(2, 21)), (None, Some(20)));
        assert_eq!(map.insert(3, 30), Some(0));
        assert_eq!((map.slots.len(), map.order.len()), (2, 2));
    }
}
