//! Messages that are commands: `/status` and the like, which the gateway answers without a model.
//!
//! [`COMMANDS`] has a row for each, [`replies`] says what each does, and [`carry_out`] does it. A command and the reply to it
//! stand in the transcript, where a history shows them and no model is sent them. What OpenClaw has and this gateway does
//! not is answered so, instead of being sent to a model. Source: OpenClaw's `docs/tools/slash-commands.md`.

mod carry_out;
mod replies;

pub(super) use carry_out::{Taken, take};

use crate::{
    app::App,
    config::QueueMode,
    methods::{Answer, By, Call, shape::Object},
    protocol::{Json, Scope},
    sessions::{Row, SessionKey},
};
use std::rc::Rc;

/// A command.
struct Command {
    name: &'static str,
    aliases: &'static [&'static str],
    /// `category` of a list.
    category: &'static str,
    description: &'static str,
    /// Name and description of what may stand behind it.
    argument: Option<(&'static str, &'static str)>,
    /// The scope that it needs.
    scope: Scope,
    act: fn(&Asked<'_>) -> Effect,
}

/// A command as it was sent.
struct Asked<'a> {
    app: &'a Rc<App>,
    by: &'a By,
    key: &'a SessionKey,
    row: Option<&'a Row>,
    /// What stands behind its name.
    rest: &'a str,
}

/// What a command does.
enum Effect {
    /// It says something.
    Says(String),
    /// It sets a field of the session, JSON, and says so.
    Sets(&'static str, Option<String>, String),
    /// It begins the conversation anew, where nothing was said yet: with this model, if one is named, and this message.
    Begins { reason: &'static str, model: Option<String>, message: Option<String> },
    /// It sends a message to the model.
    Sends(String, QueueMode),
    /// It ends the runs of the session.
    Stops,
    /// It has what was said summed up, with attention to this.
    Compacts(Option<String>),
}

/// The commands, in the order of a list.
#[rustfmt::skip]
static COMMANDS: &[Command] = &[
    command("new", &[], "session", "Begin a new conversation in this session; with another model, if one is named.",
        Some(("model", "A model, or the first message of the new conversation.")), Scope::Admin, replies::new),
    command("reset", &[], "session", "Begin the conversation of this session anew.",
        Some(("message", "The first message of the new conversation.")), Scope::Admin, replies::reset),
    command("name", &[], "session", "Give this session a name; without one, say what it is.",
        Some(("title", "The name.")), Scope::Write, replies::name),
    command("compact", &[], "session", "Sum up what was said before, so that the model need not read all of it.",
        Some(("instructions", "What the summary must not leave out.")), Scope::Admin, replies::compact),
    command("stop", &["abort"], "session", "Stop what is being answered, and what waits.",
        None, Scope::Write, replies::stop),
    command("model", &[], "options", "Say which model answers this session, or choose another one.",
        Some(("name", "A model, or \"default\" for the agent's own.")), Scope::Write, replies::model),
    command("models", &[], "options", "List the models that are configured.",
        None, Scope::Read, replies::models),
    command("queue", &[], "options", "Say or choose what becomes of a message while another one is answered.",
        Some(("mode", "steer, followup, collect, interrupt, or default.")), Scope::Write, replies::queue),
    command("steer", &["tell"], "options", "Send a message into the run that is under way.",
        Some(("message", "The message.")), Scope::Write, replies::steer),
    command("status", &[], "status", "Say how this session and the gateway are.",
        None, Scope::Read, replies::status),
    command("whoami", &["id"], "status", "Say who you are to this gateway.",
        None, Scope::Read, replies::whoami),
    command("help", &["commands"], "status", "List the commands.",
        None, Scope::Read, replies::help),
];

/// Commands of OpenClaw that this version does not have.
const NOT_HERE: &[&str] = &[
    "acp",
    "activation",
    "agents",
    "allowlist",
    "approve",
    "bash",
    "btw",
    "config",
    "context",
    "dashboard",
    "debug",
    "diagnostics",
    "dreaming",
    "elev",
    "elevated",
    "exec",
    "export",
    "export-session",
    "export-trajectory",
    "fast",
    "goal",
    "learn",
    "login",
    "loop",
    "mcp",
    "openclaw",
    "pair",
    "plugin",
    "plugins",
    "reason",
    "reasoning",
    "restart",
    "send",
    "session",
    "side",
    "skill",
    "subagents",
    "t",
    "tasks",
    "think",
    "thinking",
    "tools",
    "trace",
    "trajectory",
    "tts",
    "update",
    "usage",
    "v",
    "verbose",
    "voice",
];

const fn command(
    name: &'static str,
    aliases: &'static [&'static str],
    category: &'static str,
    description: &'static str,
    argument: Option<(&'static str, &'static str)>,
    scope: Scope,
    act: fn(&Asked<'_>) -> Effect,
) -> Command {
    Command { name, aliases, category, description, argument, scope, act }
}

/// What a message is.
enum Parsed<'a> {
    /// A message for the model.
    Message,
    /// A command, and what stands behind its name.
    Command(&'static Command, &'a str),
    /// A command that only OpenClaw has.
    NotHere(&'a str),
}

/// Reads a message: `/name`, or `/name: …`, at its very beginning. Any other word with a slash, as of a path, is a message.
fn parse(text: &str) -> Parsed<'_> {
    let Some(behind) = text.trim().strip_prefix('/') else { return Parsed::Message };
    let (name, rest) =
        behind.split_at(behind.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(behind.len()));
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    match COMMANDS.iter().find(|command| is(command.name) || command.aliases.iter().any(|alias| is(alias))) {
        Some(command) => Parsed::Command(command, rest.strip_prefix(':').unwrap_or(rest).trim()),
        None if NOT_HERE.iter().any(|known| is(known)) => Parsed::NotHere(name),
        None => Parsed::Message,
    }
}

/// The commands, a row each: `CommandEntry` of the schema.
pub(super) fn rows(arguments: bool) -> Vec<Json> {
    let row = |command: &Command| {
        let aliases = [command.name].into_iter().chain(command.aliases.iter().copied());
        let aliases: Vec<String> = aliases.map(|name| format!("/{name}")).collect();
        let argument = command.argument.filter(|_| arguments).map(|(name, description)| {
            let object = Object::new().put("name", name).put("description", description);
            vec![object.put("type", "string").json()]
        });
        Object::new()
            .put("name", command.name)
            .put("nativeName", command.name)
            .put("textAliases", &aliases)
            .put("description", command.description)
            .put("category", command.category)
            .put("source", "native")
            .put("scope", "both")
            .put("acceptsArgs", &command.argument.is_some())
            .opt("args", argument.as_ref())
            .json()
    };
    COMMANDS.iter().map(row).collect()
}

/// `commands.list`.
pub(super) fn list(call: &Call) -> Answer {
    let params = call.params()?;
    if params.value("sessionKey").is_some() {
        crate::methods::sessions::key(call, &params, "sessionKey")?;
    }
    let arguments = params.opt_bool("includeArgs")?.unwrap_or(true);
    // Every command may be sent as a text, and is one that a client may offer by itself.
    match params.opt_str("scope")? {
        None | Some("text" | "native" | "both") => {}
        Some(_) => return Err(params.invalid("scope", "text, native or both").into()),
    }
    Ok(Object::new().put("commands", &rows(arguments)).json().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_name_at_the_very_beginning_is_a_command() {
        let rows = [
            ("/status", Some(("status", ""))),
            ("  /STATUS  ", Some(("status", ""))),
            ("/new: hello", Some(("new", "hello"))),
            ("/model\nstand-in/echo", Some(("model", "stand-in/echo"))),
            ("/id", Some(("whoami", ""))),
            ("/commands", Some(("help", ""))),
            ("/statusx", None),
            ("/etc/passwd", None),
            ("/", None),
            ("see /status", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let found = match parse(text) {
                Parsed::Command(command, rest) => Some((command.name, rest)),
                Parsed::NotHere(name) => panic!("{text}: {name}"),
                Parsed::Message => None,
            };
            assert_eq!(found, expected, "{text}");
        }
        assert!(matches!(parse("/Think high"), Parsed::NotHere("Think")));
        assert!(NOT_HERE.iter().all(|name| matches!(parse(&format!("/{name} x")), Parsed::NotHere(_))));
    }

    #[test]
    fn no_name_means_two_commands() {
        let own = COMMANDS
            .iter()
            .flat_map(|command| [command.name].into_iter().chain(command.aliases.iter().copied()));
        let mut names: Vec<&str> = own.chain(NOT_HERE.iter().copied()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
