//! Steps of one key go one after the other.
//!
//! Each call is a stream of its own, and streams overtake each other: a claim would meet the hold
//! that the same client has just released.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

/// Who is at which key.
#[derive(Default)]
pub(super) struct Order(Mutex<HashMap<String, Arc<Gate<()>>>>);

/// The turn of a step at its keys.
pub(super) struct StepTicket {
    order: Arc<Order>,
    gates: Vec<(String, Option<OwnedMutexGuard<()>>)>,
}

impl Order {
    /// Waits for those that came before. `keys` ascend, so that two who want the same do not wait
    /// for each other.
    pub(super) async fn turn(self: &Arc<Self>, keys: &[String]) -> StepTicket {
        let mut turn = StepTicket { order: self.clone(), gates: Vec::with_capacity(keys.len()) };
        for key in keys {
            let gate = self.gates().entry(key.clone()).or_default().clone();
            turn.gates.push((key.clone(), None));
            let entered = gate.lock_owned().await;
            if let Some((_, gate)) = turn.gates.last_mut() {
                *gate = Some(entered);
            }
        }
        turn
    }

    /// Waits for every step that has begun, of any key.
    pub(super) async fn wait_for_all(self: &Arc<Self>) {
        let mut begun: Vec<String> = self.gates().keys().cloned().collect();
        begun.sort_unstable();
        for key in begun {
            drop(self.turn(&[key]).await);
        }
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<String, Arc<Gate<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StepTicket {
    fn drop(&mut self) {
        for (key, gate) in self.gates.drain(..) {
            drop(gate);
            let mut gates = self.order.gates();
            if gates.get(&key).is_some_and(|gate| Arc::strong_count(gate) == 1) {
                gates.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steps_of_a_key_take_turns_and_leave_nothing() {
        let order = Arc::new(Order::default());
        let keys = ["a".to_owned(), "b".to_owned()];
        let first = order.turn(&keys).await;
        let mut second = Box::pin(order.turn(&keys[1..]));
        let waits = tokio::select! {
            biased;
            _ = &mut second => false,
            () = std::future::ready(()) => true,
        };
        assert!(waits);
        drop(order.turn(&["c".to_owned()]).await);
        drop(first);
        drop(second.await);
        assert!(order.gates().is_empty());
    }
}
