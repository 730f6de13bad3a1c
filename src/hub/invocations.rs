//! Invocations under way: each `node.invoke` waits for its `node.invoke.result`.

use super::ConnId;
use crate::{
    clock::ns_of,
    protocol::{DeviceId, Json},
};
use nanoserde::{DeBin, SerBin};
use std::{
    cell::RefCell,
    collections::HashMap,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
    time::Instant,
};

/// The result of an invocation.
#[derive(Clone, Debug)]
pub enum InvokeResult {
    /// The node ran the command.
    Done {
        /// `payload` of the result, or `null`.
        payload: Json,
        /// `payloadJSON` of the result.
        text: Option<String>,
    },
    /// The node failed: code and message.
    Failed(String, String),
    /// The node's connection closed first, or the caller's.
    Gone,
    /// The gateway stopped before the result came.
    Stopping,
}

/// The request of an invocation: all that another process needs to answer the caller.
#[derive(Clone, Debug, SerBin, DeBin)]
pub struct Asked {
    /// The id of the invocation.
    pub id: String,
    /// The connection that was asked.
    pub node: ConnId,
    /// Connection that invoked the node.
    pub caller: ConnId,
    /// The id of its request.
    pub request: String,
    /// Device of the node.
    pub device: DeviceId,
    /// Command that the node is to run.
    pub command: String,
    /// Time-out of the node, milliseconds.
    pub timeout_ms: u64,
}

/// An invocation as plain data.
#[derive(Clone, Debug, SerBin, DeBin)]
pub struct SavedInvocation {
    /// The invocation that waits.
    pub asked: Asked,
    /// Deadline of the node, nanoseconds of the monotonic clock.
    pub until_ns: u64,
}

struct Slot {
    asked: Asked,
    until: Instant,
    result: Option<InvokeResult>,
    waker: Option<Waker>,
}

/// The invocations under way, by id. An id is bound to the connection that was asked: no other may answer.
#[derive(Default, Clone)]
pub struct Invocations(Rc<RefCell<HashMap<String, Slot>>>);

/// An invocation that waits; forgotten when dropped.
pub struct Invocation {
    /// The invocation that waits.
    pub asked: Asked,
    /// Deadline of the node.
    pub until: Instant,
    all: Invocations,
}

impl Invocations {
    /// Begins an invocation, or continues a saved one.
    pub fn begin(&self, asked: Asked, until: Instant) -> Invocation {
        let slot = Slot { asked: asked.clone(), until, result: None, waker: None };
        self.0.borrow_mut().insert(asked.id.clone(), slot);
        Invocation { asked, until, all: self.clone() }
    }

    /// Saves the invocations under way.
    pub fn save(&self) -> Vec<SavedInvocation> {
        let all = self.0.borrow();
        let waiting = all.values().filter(|s| s.result.is_none());
        waiting.map(|s| SavedInvocation { asked: s.asked.clone(), until_ns: ns_of(s.until) }).collect()
    }

    /// The number of those that wait.
    pub fn waiting(&self) -> usize {
        self.0.borrow().values().filter(|s| s.result.is_none()).count()
    }

    /// Accepts the result of `node` for the invocation `id`; false if none waits.
    pub fn answer(&self, id: &str, node: ConnId, result: InvokeResult) -> bool {
        let mut all = self.0.borrow_mut();
        let Some(slot) = all.get_mut(id).filter(|s| s.asked.node == node && s.result.is_none()) else {
            return false;
        };
        slot.result = Some(result);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        true
    }

    /// Ends the invocations of a connection that is gone, as node or as caller.
    pub fn gone(&self, conn: ConnId) {
        self.end(|slot| slot.asked.node == conn || slot.asked.caller == conn, &InvokeResult::Gone);
    }

    /// Ends every invocation, since the gateway stops.
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
    /// Waits for the node's result.
    pub fn result(&self) -> impl Future<Output = InvokeResult> + '_ {
        poll_fn(|cx| {
            let mut all = self.all.0.borrow_mut();
            let Some(slot) = all.get_mut(&self.asked.id) else { return Poll::Ready(InvokeResult::Gone) };
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
        self.all.0.borrow_mut().remove(&self.asked.id);
    }
}
