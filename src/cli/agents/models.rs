//! `barnacle models`: the models that are configured, and what is missing.

use crate::{
    cli::{Command, Failure, args::Args, print, table::Table},
    client::Client,
    protocol::{Fields, Scope, raw_member},
};
use miniserde::json::Value;

pub(in crate::cli) static COMMAND: Command = Command {
    name: "models",
    summary: "list the models that are configured, and say what is missing",
    about: "List the models that are configured, and say what is missing before an agent can answer.",
    notes: "Without a command it lists them.",
    calls: true,
    commands: &[&LISTING],
    run,
    ..Command::NONE
};

static LISTING: Command = Command {
    name: "list",
    summary: "list models",
    about: "List the models that are configured, and say what is missing before an agent can answer.",
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let target = args.target()?;
    let failed = |e| Failure::of(e, &target);
    let mut client = Client::connect(&target, [Scope::Read].into_iter().collect()).map_err(failed)?;
    let mut ask = |method: &str| client.call(method, "{}").map_err(failed);
    let (models, agents, servers) = (ask("models.list")?, ask("agents.list")?, ask("models.authStatus")?);
    if args.json {
        return print(&format!("{models}\n"));
    }
    let servers = raw_member(&servers, "providers").unwrap_or("[]");
    print(&text(&parsed(&models), &parsed(&agents), &parsed(&format!(r#"{{"providers":{servers}}}"#))))
}

fn parsed(text: &str) -> Value {
    miniserde::json::from_str(text).unwrap_or_default()
}

/// The lines that make a local model answer; what is in angle brackets is for the reader to fill in.
const WRITE: &str = r#"
To have a model answer, two lines in openclaw.json; here a server on this board or its network, which needs no key:

  barnacle config set agents.defaults.model "local/<model>"
  barnacle config set models.providers.local.baseUrl "http://127.0.0.1:11434/v1"
"#;

/// The models, and what is missing: the answers of `models.list`, `agents.list` and `models.authStatus`.
fn text(models: &Value, agents: &Value, servers: &Value) -> String {
    let rows = |value| Fields::of(value).into_iter();
    let models: Vec<Fields<'_>> = rows(models).flat_map(|f| f.objects("models")).collect();
    let servers: Vec<Fields<'_>> = rows(servers).flat_map(|f| f.objects("providers")).collect();
    let agents = Fields::of(agents);
    let default = agents.and_then(|agents| {
        let id = agents.str("defaultId");
        let mut all = agents.objects("agents");
        all.find(|agent| agent.str("id") == id)?.object("model")?.str("primary")
    });
    let mut table = Table::new(&["MODEL", "NAME", "WINDOW", ""]);
    for model in &models {
        let id = format!("{}/{}", model.text("provider"), model.text("id"));
        let note = match (model.is("available"), default == Some(&*id)) {
            (false, _) => "no key",
            (_, true) => "default",
            _ => "",
        };
        let window = model.u64("contextWindow").map_or("-".into(), |tokens| tokens.to_string());
        table.row([id, model.text("name").to_owned(), window, note.into()]);
    }
    let mut text = match models.is_empty() {
        true => "no models are listed in models.providers\n".into(),
        false => table.text(),
    };
    let Some(default) = default else { return text + WRITE };
    let Some((provider, name)) = default.split_once('/') else {
        return text + &format!("\nagents.defaults.model is {default:?}, and has to be <provider>/<model>\n");
    };
    let listed = models.iter().any(|model| model.text("provider") == provider && model.text("id") == name);
    match servers.iter().find(|server| server.text("provider") == provider) {
        None => text.push_str(&format!(
            "\nagents.defaults.model is {default:?}, and no server {provider:?} is configured. To say where it is:\n\n  \
             barnacle config set models.providers.{provider}.baseUrl \"http://<host>:<port>/v1\"\n"
        )),
        Some(server) if server.text("status") == "missing" => text.push_str(&format!(
            "\nmodels.providers.{provider}.apiKey names a key that is not there: barnacle doctor\n"
        )),
        Some(_) if !listed => text.push_str(&format!("\n{default} answers; it is not in the list of its server\n")),
        Some(_) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_as_lines_to_write() {
        let none = r#"{"models":[]}"#;
        let echo = r#"{"models":[{"id":"echo","name":"Echo","provider":"s","contextWindow":8192,"available":true}]}"#;
        let locked = r#"{"models":[{"id":"echo","name":"Echo","provider":"s","available":false}]}"#;
        let agents = |model: &str| format!(r#"{{"defaultId":"main","agents":[{{"id":"main"{model}}}]}}"#);
        let primary = |name: &str| agents(&format!(r#","model":{{"primary":"{name}"}}"#));
        let servers = |status: &str| format!(r#"{{"providers":[{{"provider":"s","status":"{status}"}}]}}"#);
        let nobody = r#"{"providers":[]}"#.to_owned();
        let rows = [
            (none, agents(""), nobody.clone(), "no models are listed", "config set agents.defaults.model"),
            (none, primary("s/echo"), nobody, "no models", "config set models.providers.s.baseUrl"),
            (none, primary("echo"), servers("static"), "no models", "has to be <provider>/<model>"),
            (none, primary("s/x"), servers("static"), "no models", "s/x answers"),
            (echo, primary("s/echo"), servers("static"), "s/echo  Echo  8192    default", ""),
            (
                locked,
                primary("s/echo"),
                servers("missing"),
                "s/echo  Echo  -       no key",
                "models.providers.s.apiKey",
            ),
        ];
        for (models, agents, servers, list, advice) in rows {
            let text = text(&parsed(models), &parsed(&agents), &parsed(&servers));
            assert!(text.contains(list) && text.contains(advice), "{text}");
            assert_eq!(text.contains("\n\n"), !advice.is_empty(), "{text}");
        }
    }
}
