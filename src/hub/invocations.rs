//! Invocations under way: a `node.invoke` waits here for its `node.invoke.result`.

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

/// What was asked: all that answering the caller takes, so that another process can do it.
#[derive(Clone, Debug, SerBin, DeBin)]
pub struct Asked {
    /// The id of the invocation.
    pub id: String,
    /// The connection that was asked.
    pub node: ConnId,
    /// The connection that asks.
    pub caller: ConnId,
    /// The id of its request.
    pub request: String,
    /// The node's device.
    pub device: DeviceId,
    /// What it is to do.
    pub command: String,
    /// How long the node may take in all, milliseconds.
    pub timeout_ms: u64,
}

/// An invocation as plain data.
#[derive(Clone, Debug, SerBin, DeBin)]
pub struct SavedInvocation {
    /// What was asked.
    pub asked: Asked,
    /// Until when the node may take, nanoseconds of the monotonic clock.
    pub until_ns: u64,
}

struct Slot {
    asked: Asked,
    until: Instant,
    result: Option<InvokeResult>,
    waker: Option<Waker>,
}

/// All of them, by id. An id is bound to the connection that was asked: no other may answer.
#[derive(Default, Clone)]
pub struct Invocations(Rc<RefCell<HashMap<String, Slot>>>);

/// One of them; forgotten when dropped.
pub struct Invocation {
    /// What was asked.
    pub asked: Asked,
    /// Until when the node may take.
    pub until: Instant,
    all: Invocations,
}

impl Invocations {
    /// Begins one, or goes on with one.
    pub fn begin(&self, asked: Asked, until: Instant) -> Invocation {
        let slot = Slot { asked: asked.clone(), until, result: None, waker: None };
        self.0.borrow_mut().insert(asked.id.clone(), slot);
        Invocation { asked, until, all: self.clone() }
    }

    /// Those that wait, written down.
    pub fn save(&self) -> Vec<SavedInvocation> {
        let all = self.0.borrow();
        let waiting = all.values().filter(|s| s.result.is_none());
        waiting.map(|s| SavedInvocation { asked: s.asked.clone(), until_ns: ns_of(s.until) }).collect()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.borrow().values().filter(|s| s.result.is_none()).count()
    }

    /// `node` answers `id`. Whether somebody waits for it.
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

    /// A connection is gone: whoever waits for it is told, and it waits for nobody any more.
    pub fn gone(&self, conn: ConnId) {
        self.end(|slot| slot.asked.node == conn || slot.asked.caller == conn, &InvokeResult::Gone);
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
