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

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(slot) = self.slots.get_mut(&key) {
            *slot = Slot { value, used: true };
            return;
        }
        if self.slots.len() >= self.capacity {
            self.evict();
        }
        self.order.push_back(key);
        self.slots.insert(key, Slot { value, used: false });
    }

    /// Ends, since each turn clears a flag or removes an entry.
    fn evict(&mut self) {
        while let Some(key) = self.order.pop_front() {
            match self.slots.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.order.push_back(key);
                }
                _ => {
                    self.slots.remove(&key);
                    return;
                }
            }
        }
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
}
