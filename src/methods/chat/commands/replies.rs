//! What each command does, and what it says.

use super::{Asked, COMMANDS, Effect};
use crate::{
    agents::selection::{CHOSEN, Selection, known, whole_name, window},
    clock::wall_ms,
    config::QueueMode,
    methods::{By, sessions::shapes},
};
use nanoserde::SerJson;
use std::fmt::Write;

/// `/new`: what stands behind it is a model, if it is the name of one, with a message behind that; else a message.
pub(super) fn new(asked: &Asked<'_>) -> Effect {
    let (first, behind) = asked.rest.split_once(char::is_whitespace).unwrap_or((asked.rest, ""));
    let settings = asked.app.settings();
    let model = whole_name(&settings.config.providers, first).ok();
    let message = if model.is_some() { behind.trim() } else { asked.rest };
    Effect::Begins { reason: "new", model, message: text(message) }
}

/// `/reset`.
pub(super) fn reset(asked: &Asked<'_>) -> Effect {
    // The instructions of an agent are read anew for each message anyway.
    match asked.rest.split_once(char::is_whitespace).unwrap_or((asked.rest, "")) {
        ("soft", "") => Effect::Says(
            "The transcript stays; the next message begins with the agent's files as they are.".into(),
        ),
        ("soft", message) => Effect::Sends(message.trim().into(), QueueMode::Followup),
        _ => Effect::Begins { reason: "reset", model: None, message: text(asked.rest) },
    }
}

/// `/name`.
pub(super) fn name(asked: &Asked<'_>) -> Effect {
    let now = asked.row.and_then(|row| row.text("label"));
    match (asked.rest, now) {
        ("", Some(label)) => {
            Effect::Says(format!("This session is called \"{label}\". /name <title> gives it another name."))
        }
        ("", None) => Effect::Says("This session has no name. /name <title> gives it one.".into()),
        (title, _) if title.chars().count() > 512 => {
            Effect::Says("A name has 512 characters at most; nothing changed.".into())
        }
        (title, _) => Effect::Sets(
            "label",
            Some(title.serialize_json()),
            format!("This session is called \"{title}\" now."),
        ),
    }
}

/// `/compact`.
pub(super) fn compact(asked: &Asked<'_>) -> Effect {
    Effect::Compacts(text(asked.rest))
}

/// `/stop`.
pub(super) fn stop(_: &Asked<'_>) -> Effect {
    Effect::Stops
}

/// `/model`.
pub(super) fn model(asked: &Asked<'_>) -> Effect {
    let settings = asked.app.settings();
    let agents = &settings.config.agents;
    let own = Selection::of(agents, asked.key.agent(), None).model;
    let mut words = asked.rest.split_whitespace();
    let (wanted, flag) = (words.next().unwrap_or_default(), words.next());
    match flag {
        None | Some("-s" | "--session") => {}
        Some("-a" | "--agent" | "-g" | "--global") => {
            return Effect::Says(
                "The defaults are in openclaw.json (agents.defaults.model), and a command does not change them; without \
                 the flag, /model changes this session."
                    .into(),
            );
        }
        Some(other) => {
            return Effect::Says(format!(
                "/model takes one model, and {other:?} stands behind it; nothing changed."
            ));
        }
    }
    match wanted {
        "" | "status" => Effect::Says(format!(
            "{}\n/model <name> chooses another one; /models lists them.",
            model_line(asked)
        )),
        "list" => models(asked),
        "default" | "auto" => {
            let said = match &own {
                Some(own) => format!("The agent's model answers this session: {own}."),
                None => {
                    "No model is chosen for this session, and none is configured: see agents.defaults.model."
                        .into()
                }
            };
            Effect::Sets(CHOSEN, None, said)
        }
        wanted => match whole_name(&settings.config.providers, wanted) {
            Err(why) => Effect::Says(format!("Nothing changed: {why}.")),
            Ok(name) if Some(&name) == own.as_ref() => Effect::Sets(
                CHOSEN,
                None,
                format!("{name} answers this session, as it is the agent's model."),
            ),
            Ok(name) => {
                let said =
                    format!("{name} answers this session from now on. /model default takes that back.");
                Effect::Sets(CHOSEN, Some(name.serialize_json()), said)
            }
        },
    }
}

/// `/models`.
pub(super) fn models(asked: &Asked<'_>) -> Effect {
    let settings = asked.app.settings();
    let all = known(&settings.config.providers);
    Effect::Says(match all.is_empty() {
        true => "No models are listed; see models.providers in openclaw.json.".into(),
        false => format!("Models:\n- {}", all.join("\n- ")),
    })
}

/// `/queue`.
pub(super) fn queue(asked: &Asked<'_>) -> Effect {
    let settings = asked.app.settings();
    let agents = &settings.config.agents;
    let mode = shapes::queue_mode(agents, asked.row).as_str();
    match asked.rest {
        "" => Effect::Says(format!(
            "A message that comes while another one is answered: {mode}. /queue <mode> changes that."
        )),
        "default" | "reset" => {
            let said = format!("As configured again: {}.", agents.queue.as_str());
            Effect::Sets(shapes::QUEUE_MODE, None, said)
        }
        wanted => match QueueMode::parse(wanted) {
            Some(mode) => {
                let said = format!(
                    "A message that comes while another one is answered: {} from now on.",
                    mode.as_str()
                );
                Effect::Sets(shapes::QUEUE_MODE, Some(mode.as_str().serialize_json()), said)
            }
            None => Effect::Says(format!(
                "There is no mode {wanted:?}: steer, followup, collect, interrupt, or default."
            )),
        },
    }
}

/// `/steer`.
pub(super) fn steer(asked: &Asked<'_>) -> Effect {
    match asked.rest {
        "" => Effect::Says("/steer <message> sends the message into the run that is under way.".into()),
        message => Effect::Sends(message.into(), QueueMode::Steer),
    }
}

/// `/status`.
pub(super) fn status(asked: &Asked<'_>) -> Effect {
    let settings = asked.app.settings();
    let agents = &settings.config.agents;
    let mut said = format!(
        "Barnacle {}, up {}\nSession {}",
        env!("CARGO_PKG_VERSION"),
        span(asked.app.boot.clock.uptime_ms()),
        asked.key.wire()
    );
    let now = wall_ms();
    if let Some(row) = asked.row {
        let _ = write!(said, ", begun {} ago", span(now.saturating_sub(row.times.started)));
    }
    let _ = write!(said, "\n{}", model_line(asked));
    let runs = asked.app.runs.of(asked.key);
    let _ = match runs.split_first() {
        None => write!(said, "\nNothing is being answered"),
        Some((first, waiting)) => {
            let since = span(now.saturating_sub(first.accepted_ms));
            write!(said, "\nAnswering {} for {since}; {} wait", first.id, waiting.len())
        }
    };
    let _ = write!(said, "; queue {}", shapes::queue_mode(agents, asked.row).as_str());
    let used = asked.app.runs.spending.used(asked.key.agent(), now);
    let budget = settings.own.budget();
    let _ = write!(said, "\nTokens today: {} of this agent, {} of all", used.agent, used.all);
    if budget.day > 0 {
        let _ = write!(said, " ({} may be used)", budget.day);
    }
    if let Some(why) = asked.row.and_then(|row| row.text("lastRunError")) {
        let _ = write!(said, "\nThe last run failed: {why}");
    }
    Effect::Says(said)
}

/// `/whoami`.
pub(super) fn whoami(asked: &Asked<'_>) -> Effect {
    let scopes: Vec<&str> = crate::protocol::Scope::ALL
        .iter()
        .filter(|scope| asked.by.allows(**scope))
        .map(|scope| scope.as_str())
        .collect();
    let scopes = if scopes.is_empty() { "no scopes".to_owned() } else { scopes.join(", ") };
    Effect::Says(match asked.by {
        By::Conn(_) => format!("You are {}, with {scopes}.", asked.by.name()),
        By::Agent => "You are an agent of this gateway.".into(),
    })
}

/// `/help`.
pub(super) fn help(_: &Asked<'_>) -> Effect {
    let line = |command: &super::Command| {
        let argument = command.argument.map(|(name, _)| format!(" [{name}]")).unwrap_or_default();
        format!("/{}{argument}: {}", command.name, command.description)
    };
    Effect::Says(COMMANDS.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// The model of a session, in one line.
fn model_line(asked: &Asked<'_>) -> String {
    let settings = asked.app.settings();
    let selection = Selection::of(&settings.config.agents, asked.key.agent(), asked.row);
    let Some(model) = selection.model else {
        return "No model is configured: see agents.defaults.model in openclaw.json".into();
    };
    let tokens =
        window(&settings.config.providers, &model).map(|n| format!(", {n} tokens")).unwrap_or_default();
    let whose = if selection.is_chosen { "chosen for this session" } else { "the agent's" };
    format!("Model {model} ({whose}{tokens})")
}

fn text(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A time as people say it.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
