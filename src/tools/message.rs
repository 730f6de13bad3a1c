//! `message`: says something to a person, in a session.

use super::{
    Group, Repeat, Tool, Use,
    reach::{naming, seen, target},
    result::{Outcome, Problem, Said},
};
use crate::protocol::{Object, Readable, json};

pub(super) const TOOL: Tool = Tool {
    name: "message",
    label: "Message",
    group: Group::Messaging,
    description: "Send a message to a person. The target is the key of a session (see sessions_list), whose reader sees the \
                  message in the chat; without a target it is the session you are in. Do not repeat in your reply what you \
                  have sent to the session you are in.",
    parameters: r#"{"type":"object","properties":{
        "action":{"type":"string","enum":["send"],"description":"What to do; send is all there is."},
        "message":{"type":"string","minLength":1,"maxLength":100000,"description":"The text."},
        "target":{"type":"string","minLength":1,"description":"Key of a session, or \"current\"."},
        "channel":{"type":"string","description":"The channel; webchat is all there is."}
        },"required":["message"],"additionalProperties":false}"#,
    repeat: Repeat::ChangesTwice,
    run: |with| Box::pin(send(with)),
};

/// The text that a call sent to the session `key`, by the call's arguments and what it gave.
pub(super) fn sent_to(key: &str, arguments: &str, result: &str) -> Option<String> {
    let text = |of, name| Some(json::text(json::member(of, name)?)?.into_owned());
    let is_there = text(result, "status")? == "ok" && text(result, "target")? == key;
    text(arguments, "message").filter(|_| is_there)
}

async fn send(with: Use) -> Result<Outcome, Problem> {
    let given = with.arguments.params();
    if let Some(channel) =
        given.opt_str("channel")?.filter(|channel| !channel.eq_ignore_ascii_case("webchat"))
    {
        return Err(Problem::arguments(format!(
            "nothing was sent: this gateway has no channel {channel:?}; leave channel out, and name a session as target"
        )));
    }
    let key = match given.opt_str("target")? {
        Some(text) => target(&with, text).await?,
        None => with.session.clone(),
    };
    let text = given.str("message")?;
    seen(&with, &key).await.map_err(|problem| Problem {
        message: format!("nothing was sent: {}", problem.message),
        ..problem
    })?;
    let params = naming(Object::new(), "sessionKey", &key).put("message", text).json();
    let answer = with.ask("chat.inject", params).await.map_err(|error| {
        let problem = Problem::from(error);
        Problem { message: format!("nothing was sent: {}", problem.message), ..problem }
    })?;
    let answer = Readable::new("chat.inject", answer);
    let id = answer.params().opt_str("messageId")?.map(str::to_owned);
    let result = Object::new()
        .put("status", "ok")
        .put("channel", "webchat")
        .put("target", key.wire())
        .opt("messageId", id.as_ref());
    let said = Said { session: key.clone(), text: text.to_owned() };
    Ok(Outcome { said: Some(said), ..Outcome::json(result.json()) })
}
