//! `config.plan`: what an edit of the configuration would do, before anything is saved. Barnacle's own.

use crate::{
    app::App,
    config::redact,
    hub::Conn,
    methods::{Answer, By},
    protocol::{ErrorShape, Json, Params},
    reload::Preview,
};
use nanoserde::SerJson;
use std::rc::Rc;

#[derive(SerJson)]
struct Change {
    path: String,
    added: bool,
    removed: bool,
    does: String,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Closed {
    connId: String,
    client: Option<String>,
    deviceId: Option<String>,
}

#[derive(SerJson)]
struct Planned {
    changes: Vec<Change>,
    applies: String,
    closes: Vec<Closed>,
    revokes: Vec<String>,
    warnings: Vec<String>,
}

fn closed(conn: &Rc<Conn>) -> Closed {
    let session = conn.session();
    Closed {
        connId: session.id.to_string(),
        client: session.client.client_id.clone(),
        deviceId: session.device.map(|d| d.to_string()),
    }
}

/// `config.plan`, of the text `raw`, or of the file as it is. Who only asks is not counted among the closed.
pub async fn plan(app: &Rc<App>, asks: &By, params: &Params<'_>) -> Answer {
    let raw = params.opt_str("raw")?.map(str::to_owned);
    let Preview { plan, refused, browsers, new_lines } = app
        .reloads
        .preview(raw)
        .await
        .map_err(|why| ErrorShape::invalid(format!("invalid config: {}", redact::line(&why))))?;
    let changes = plan.changes.iter().map(|(change, effect)| Change {
        path: change.path.to_string(),
        added: !change.was,
        removed: !change.is,
        does: effect.says().into(),
    });
    let payload = Planned {
        changes: changes.collect(),
        applies: plan.done(),
        closes: refused.iter().filter(|conn| conn.id() != asks.id()).map(closed).collect(),
        revokes: browsers.iter().map(ToString::to_string).collect(),
        warnings: new_lines.iter().map(|line| redact::line(line).into_owned()).collect(),
    };
    Ok(Json::of(&payload).into())
}
