//! `channels.status`: the channels that the configuration names. None runs in this version, and each row says so.

use super::{Access, Answer, Call, Method, Repeat, shape::Object};
use crate::{
    clock::wall_ms,
    protocol::{Json, Scope},
};
use std::collections::BTreeMap;

/// The methods of this family.
pub(super) const METHODS: &[Method] =
    &[Method::now("channels.status", Access::Operator(Scope::Read), Repeat::Harmless, status)];

/// Why a channel is not running.
const WHY: &str = "this version of Barnacle runs no channels";

/// `channels.status`.
fn status(call: &Call) -> Answer {
    let params = call.params()?;
    let wanted = params.opt_str("channel")?;
    let settings = call.app.settings();
    let named = &settings.config.agents.channels;
    let channels: Vec<&String> = named.iter().filter(|name| wanted.is_none_or(|w| w == *name)).collect();
    let of_each = |value: &dyn Fn(&str) -> Json| -> BTreeMap<String, Json> {
        channels.iter().map(|name| ((*name).clone(), value(name))).collect()
    };
    let text = |text: &str| Json::of(&text.to_owned());
    let off = || Object::new().put("configured", &true).put("enabled", &true).put("running", &false);
    let account = |_: &str| {
        let account = off().put("accountId", "default").put("lastError", WHY).json();
        Json(format!("[{}]", account.0))
    };
    let warnings: Vec<String> = channels.iter().map(|name| format!("{name}: {WHY}")).collect();
    let object = Object::new()
        .put("ts", &wall_ms())
        .put("channelOrder", &channels.iter().map(|name| (*name).clone()).collect::<Vec<_>>())
        .put("channelLabels", &of_each(&text))
        .put("channels", &of_each(&|_| off().json()))
        .put("channelAccounts", &of_each(&account))
        .put("channelDefaultAccountId", &of_each(&|_| text("default")));
    Ok(object.opt("warnings", Some(&warnings).filter(|all| !all.is_empty())).json().into())
}
