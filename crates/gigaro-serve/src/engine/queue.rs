//! Who waits, and who is next: turns go around between tenants, and within a tenant the first come is the first served.
//!
//! So a tenant with a thousand requests delays another one's first by one request, not by a thousand. It knows nothing of models or
//! memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Requests that wait, with deadlines.
pub(super) struct FairQueue<T> {
    /// One for each tenant that waits, in the order of their next turns.
    lanes: VecDeque<Lane<T>>,
    len: usize,
    limit: usize,
}

struct Lane<T> {
    tenant: Arc<str>,
    /// Oldest first. Never empty.
    waiting: VecDeque<(Instant, T)>,
}

impl<T> FairQueue<T> {
    /// An empty queue that takes `limit` requests.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            lanes: VecDeque::new(),
            len: 0,
            limit,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Lets a request wait until `deadline`.
    ///
    /// # Errors
    /// Gives it back if the queue is full.
    pub(super) fn push(&mut self, tenant: &Arc<str>, deadline: Instant, item: T) -> Result<(), T> {
        if self.len >= self.limit {
            return Err(item);
        }
        self.len += 1;
        match self.lanes.iter_mut().find(|lane| lane.tenant == *tenant) {
            Some(lane) => lane.waiting.push_back((deadline, item)),
            None => self.lanes.push_back(Lane {
                tenant: tenant.clone(),
                waiting: [(deadline, item)].into(),
            }),
        }
        Ok(())
    }

    /// Takes out the next request, if it `fits`; its tenant then has to let all others go first. One that does not fit lets nobody pass, or
    /// it might wait for ever.
    pub(super) fn pop_if(&mut self, fits: impl FnOnce(&T) -> bool) -> Option<T> {
        if !fits(&self.lanes.front()?.waiting.front()?.1) {
            return None;
        }
        let mut lane = self.lanes.pop_front()?;
        let (_, item) = lane.waiting.pop_front()?;
        self.len -= 1;
        if !lane.waiting.is_empty() {
            self.lanes.push_back(lane);
        }
        Some(item)
    }

    /// Takes out all requests that are overdue at `now`, or that `wanted` no longer holds for.
    pub(super) fn take_out(
        &mut self,
        now: Instant,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Vec<(Overdue, T)> {
        let mut out = Vec::new();
        for lane in &mut self.lanes {
            for _ in 0..lane.waiting.len() {
                let Some((deadline, item)) = lane.waiting.pop_front() else {
                    break;
                };
                if !wanted(&item) {
                    out.push((Overdue(false), item));
                } else if deadline <= now {
                    out.push((Overdue(true), item));
                } else {
                    lane.waiting.push_back((deadline, item));
                }
            }
        }
        self.lanes.retain(|lane| !lane.waiting.is_empty());
        self.len -= out.len();
        out
    }
}

/// Whether a request left because of its deadline, and not because nobody wants it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overdue(pub(super) bool);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pushed(limit: usize, items: &[(&str, u32)]) -> (FairQueue<u32>, Instant) {
        let (mut queue, now) = (FairQueue::new(limit), Instant::now());
        for &(tenant, item) in items {
            let deadline = now + Duration::from_secs(item.into());
            assert_eq!(queue.push(&tenant.into(), deadline, item), Ok(()));
        }
        (queue, now)
    }

    fn drained(mut queue: FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(move || queue.pop_if(|_| true)).collect()
    }

    #[test]
    fn turns_go_around_between_tenants() {
        let (queue, _) = pushed(
            9,
            &[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("c", 6)],
        );
        assert_eq!(drained(queue), [1, 4, 6, 2, 5, 3]);
    }

    #[test]
    fn a_tenant_that_was_just_served_comes_behind_those_that_wait() {
        let (mut queue, now) = pushed(9, &[("a", 1), ("b", 2), ("b", 3)]);
        assert_eq!(queue.pop_if(|_| true), Some(1));
        assert_eq!(queue.push(&"a".into(), now, 4), Ok(()));
        assert_eq!(drained(queue), [2, 4, 3]);
    }

    #[test]
    fn a_full_queue_gives_the_request_back() {
        let (mut queue, now) = pushed(2, &[("a", 1), ("b", 2)]);
        assert_eq!(queue.push(&"c".into(), now, 3), Err(3));
        assert_eq!(queue.pop_if(|_| true), Some(1));
        assert_eq!(queue.push(&"c".into(), now, 3), Ok(()));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn overdue_and_unwanted_requests_leave_and_the_others_keep_their_order() {
        let (mut queue, now) = pushed(9, &[("a", 1), ("a", 9), ("b", 3), ("a", 2), ("b", 8)]);
        let out = queue.take_out(now + Duration::from_secs(2), |&item| item != 3);
        let expected = [(Overdue(true), 1), (Overdue(true), 2), (Overdue(false), 3)];
        assert_eq!(out, expected);
        assert_eq!(queue.len(), 2);
        assert_eq!(drained(queue), [9, 8]);
    }
}
