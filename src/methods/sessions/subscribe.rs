//! `sessions.subscribe` and `sessions.messages.*`: who is told what. A subscription ends with its connection.

use super::{all_sessions, list, messages_of};
use crate::{
    clock::wall_ms,
    hub::{Conn, Topic},
    methods::{Answer, Call, shape::Object},
    protocol::{ErrorShape, Scope},
};

fn add(conn: &Conn, topic: Topic) -> Result<(), ErrorShape> {
    match conn.subscribe(topic) {
        true => Ok(()),
        false => Err(ErrorShape::invalid(format!(
            "this connection has {} subscriptions, which is the most; end one with sessions.messages.unsubscribe",
            Conn::SUBSCRIPTIONS
        ))),
    }
}

/// `sessions.subscribe`; with parameters of a list, the list too.
pub(super) async fn subscribe(call: Call) -> Answer {
    let params = call.params()?;
    // Before the list is made, so that nothing is missed between.
    add(call.by.conn()?, all_sessions())?;
    let object = Object::new().put("subscribed", &true);
    if params.entries().next().is_none() {
        return Ok(object.json().into());
    }
    call.app.sessions.ready().await?;
    let list = list::page(&call.app, &call.by, &params).await?;
    Ok(object.put("list", &list).json().into())
}

/// `sessions.messages.subscribe`. No run of this version asks for an approval, so that none is to be told of.
pub(super) fn messages(call: &Call) -> Answer {
    let params = call.params()?;
    let key = super::key(call, &params, "key")?;
    let approvals = params.opt_bool("includeApprovals")?.unwrap_or(false);
    if approvals && !call.by.allows(Scope::Approvals) {
        return Err(ErrorShape::missing_scope(Scope::Approvals, None));
    }
    add(call.by.conn()?, messages_of(&key))?;
    let replay = Object::new()
        .put("sessionKey", key.wire())
        .put("updatedAtMs", &wall_ms())
        .put("approvals", &Vec::<String>::new())
        .put("truncated", &false);
    let object = Object::new().put("subscribed", &true).put("key", key.wire());
    Ok(object.opt("approvalReplay", approvals.then(|| replay.json()).as_ref()).json().into())
}

/// `sessions.messages.unsubscribe`.
pub(super) fn no_messages(call: &Call) -> Answer {
    let key = super::key(call, &call.params()?, "key")?;
    call.by.conn()?.unsubscribe(&messages_of(&key));
    Ok(Object::new().put("subscribed", &false).put("key", key.wire()).json().into())
}
