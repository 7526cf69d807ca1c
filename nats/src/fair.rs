//! A queue that gives every tenant its turn.

use std::collections::{HashMap, VecDeque};

/// First in, first out per tenant; round-robin among tenants; none may have more than its share running.
pub(crate) struct FairQueue<T> {
    waiting: HashMap<String, VecDeque<T>>,
    /// Tenants that have something waiting, in the order of their turn.
    order: VecDeque<String>,
    running: HashMap<String, usize>,
    share: usize,
}

impl<T> FairQueue<T> {
    /// `share`: how many of one tenant may run at once.
    pub(crate) fn new(share: usize) -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), running: HashMap::new(), share }
    }

    pub(crate) fn push(&mut self, tenant: String, item: T) {
        let waiting = self.waiting.entry(tenant.clone()).or_default();
        if waiting.is_empty() {
            self.order.push_back(tenant);
        }
        waiting.push_back(item);
    }

    /// The next item to run, of the next tenant in turn that is below its share. Counts as running until
    /// [`FairQueue::finished`].
    pub(crate) fn pop(&mut self) -> Option<(String, T)> {
        for _ in 0..self.order.len() {
            let tenant = self.order.pop_front()?;
            if self.running.get(&tenant).copied().unwrap_or_default() >= self.share {
                self.order.push_back(tenant);
                continue;
            }
            let waiting = self.waiting.get_mut(&tenant)?;
            let item = waiting.pop_front()?;
            if waiting.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.order.push_back(tenant.clone());
            }
            *self.running.entry(tenant.clone()).or_default() += 1;
            return Some((tenant, item));
        }
        None
    }

    pub(crate) fn finished(&mut self, tenant: &str) {
        if let Some(running) = self.running.get_mut(tenant) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(tenant);
            }
        }
    }

    /// Takes out everything that waits.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.order.clear();
        self.waiting.drain().flat_map(|(_, waiting)| waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooding_tenant_does_not_hold_up_a_quiet_one() {
        let mut queue = FairQueue::new(100);
        for number in 0..1_000 {
            queue.push("loud".to_owned(), number);
        }
        queue.push("quiet".to_owned(), 7);
        let first: Vec<String> = (0..2).filter_map(|_| queue.pop()).map(|(tenant, _)| tenant).collect();
        assert!(first.contains(&"quiet".to_owned()));
    }

    #[test]
    fn one_tenant_never_runs_more_than_its_share() {
        let mut queue = FairQueue::new(2);
        (0..5).for_each(|number| queue.push("a".to_owned(), number));
        assert_eq!([queue.pop(), queue.pop()].map(|popped| popped.map(|(_, item)| item)), [Some(0), Some(1)]);
        assert!(queue.pop().is_none());
        queue.finished("a");
        assert_eq!(queue.pop().map(|(_, item)| item), Some(2));
        assert_eq!(queue.drain(), vec![3, 4]);
    }

    #[test]
    fn items_of_one_tenant_keep_their_order() {
        let mut queue = FairQueue::new(usize::MAX);
        (0..10).for_each(|number| queue.push(if number % 2 == 0 { "a" } else { "b" }.to_owned(), number));
        let mut popped = Vec::new();
        while let Some((tenant, item)) = queue.pop() {
            popped.push((tenant, item));
        }
        for name in ["a", "b"] {
            let items: Vec<i32> =
                popped.iter().filter(|(tenant, _)| tenant == name).map(|(_, item)| *item).collect();
            assert!(items.is_sorted());
        }
    }
}
