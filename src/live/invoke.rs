//! Invocations under way: a `node.invoke` waits here for its `node.invoke.result`.

use super::ConnId;
use crate::protocol::Json;
use std::{
    cell::RefCell,
    collections::HashMap,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
};

/// What a node answered.
#[derive(Clone, Debug)]
pub enum InvokeResult {
    /// It did it; the payload, and its text if it came as one.
    Done {
        /// `payload`, or `null`.
        payload: Json,
        /// `payloadJSON`.
        text: Option<String>,
    },
    /// It did not: code and message.
    Failed(String, String),
    /// Its connection closed first, or the caller's.
    Gone,
    /// The gateway stops.
    Stopping,
}

struct Slot {
    node: ConnId,
    caller: ConnId,
    result: Option<InvokeResult>,
    waker: Option<Waker>,
}

/// All of them, by id. An id is bound to the connection that was asked: no other may answer.
#[derive(Default, Clone)]
pub struct Invocations(Rc<RefCell<HashMap<String, Slot>>>);

/// One of them; forgotten when dropped.
pub struct Invocation {
    id: String,
    all: Invocations,
}

impl Invocations {
    /// Begins one: `caller` asks `node` under `id`.
    pub fn begin(&self, id: String, node: ConnId, caller: ConnId) -> Invocation {
        let slot = Slot { node, caller, result: None, waker: None };
        self.0.borrow_mut().insert(id.clone(), slot);
        Invocation { id, all: self.clone() }
    }

    /// `node` answers `id`. Whether somebody waits for it.
    pub fn answer(&self, id: &str, node: ConnId, result: InvokeResult) -> bool {
        let mut all = self.0.borrow_mut();
        let Some(slot) = all.get_mut(id).filter(|s| s.node == node && s.result.is_none()) else {
            return false;
        };
        slot.result = Some(result);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        true
    }

    /// A connection is gone: whoever waits for it is told, and it waits for nobody any more.
    pub fn gone(&self, conn: ConnId) {
        self.end(|slot| slot.node == conn || slot.caller == conn, &InvokeResult::Gone);
    }

    /// The gateway stops: whoever still waits is told.
    pub fn stop(&self) {
        self.end(|_| true, &InvokeResult::Stopping);
    }

    fn end(&self, which: impl Fn(&Slot) -> bool, how: &InvokeResult) {
        for slot in self.0.borrow_mut().values_mut().filter(|s| which(s)) {
            slot.result.get_or_insert_with(|| how.clone());
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Invocation {
    /// Waits for the answer.
    pub fn result(&self) -> impl Future<Output = InvokeResult> + '_ {
        poll_fn(|cx| {
            let mut all = self.all.0.borrow_mut();
            let Some(slot) = all.get_mut(&self.id) else { return Poll::Ready(InvokeResult::Gone) };
            match slot.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    slot.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(&self.id);
    }
}
