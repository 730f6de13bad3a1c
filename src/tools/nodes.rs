//! `nodes`: paired nodes, and what they can be asked to run.

use super::{
    Group, Repeat, Tool, Use,
    result::{Outcome, Problem},
};
use crate::protocol::{Json, Object, Params, Readable, RequestId, json};

pub(super) const TOOL: Tool = Tool {
    name: "nodes",
    label: "Nodes",
    group: Group::Nodes,
    description: "Use the paired nodes (phones, computers, boards). list names them with the commands that each was approved \
                  for; describe tells all of one; invoke has one run a command and waits for its result.",
    parameters: r#"{"type":"object","properties":{
        "action":{"type":"string","enum":["list","describe","invoke"],"description":"What to do."},
        "node":{"type":"string","minLength":1,"description":"Id, name or address of the node, for describe and invoke."},
        "command":{"type":"string","minLength":1,"description":"The command, for invoke: one of those that list names."},
        "params":{"type":"object","description":"Parameters of the command."},
        "timeoutMs":{"type":"integer","minimum":1,"maximum":600000,"description":"How long the node may take; 30000 without it."}
        },"required":["action"],"additionalProperties":false}"#,
    repeat: Repeat::ChangesTwice,
    run: |with| Box::pin(act(with)),
};

async fn act(with: Use) -> Result<Outcome, Problem> {
    let given = with.arguments.params();
    match given.str("action")? {
        "list" => {
            let answer = Readable::new("node.list", with.ask("node.list", Json("{}".into())).await?);
            let nodes = answer.params();
            let rows = nodes.value("nodes").map(json::items).into_iter().flatten().map(row);
            let rows: Vec<Json> = rows.collect();
            Ok(Outcome::json(Object::new().put("count", &rows.len()).put("nodes", &rows).json()))
        }
        "describe" => {
            let asked = Object::new().put("nodeId", needed(&given, "node")?).json();
            Ok(Outcome::json(with.ask("node.describe", asked).await?))
        }
        _ => invoked(&with, &given).await,
    }
}

fn needed<'a>(given: &Params<'a>, name: &str) -> Result<&'a str, Problem> {
    given.opt_str(name)?.ok_or_else(|| Problem::arguments(format!("{name} is required for this action")))
}

/// A node in a list: what decides whether it can be asked, and for what.
fn row(node: &str) -> Json {
    let node = Readable::new("node", Json(node.to_owned()));
    let node = node.params();
    let mut object = Object::new();
    for name in [
        "nodeId",
        "displayName",
        "platform",
        "deviceFamily",
        "connected",
        "paired",
        "approvalState",
        "commands",
        "caps",
    ] {
        object = object.opt(name, node.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    object.json()
}

async fn invoked(with: &Use, given: &Params<'_>) -> Result<Outcome, Problem> {
    let (node, command) = (needed(given, "node")?, needed(given, "command")?);
    let key = RequestId::random().map_err(|e| Problem::failed(format!("no randomness: {e}")))?;
    let params = given.value("params").map(|params| Json(params.to_owned()));
    let asked = Object::new()
        .put("nodeId", node)
        .put("command", command)
        .opt("params", params.as_ref())
        .opt("timeoutMs", given.opt_u64("timeoutMs")?.as_ref())
        .put("idempotencyKey", &key.to_string());
    let answer = Readable::new("node.invoke", with.ask("node.invoke", asked.json()).await?);
    let answer = answer.params();
    let mut object = Object::new().put("status", "ok");
    for name in ["nodeId", "command", "payload"] {
        object = object.opt(name, answer.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    Ok(Outcome::json(object.json()))
}
