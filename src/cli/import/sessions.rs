//! The sessions of `barnacle import`: where they come from, what becomes of each, and how that is shown.

use crate::{
    cli::{
        Failure,
        table::{Table, plain},
    },
    client::{Client, Target},
    config::{Env, Flags, Settings, model::agents::Agents},
    import::sessions::{self, LeftOut, Session, wire},
    sessions::incoming::{Draft, Here, Incoming},
};
use nanoserde::SerJson;
use std::{io, path::Path};

/// Where sessions come from.
pub(super) enum Source<'t> {
    Directory(sessions::Stored),
    Gateway(Box<Client<'t>>, sessions::Stored),
}

/// What became of a session, or would.
enum Fate {
    Added,
    Updated,
    /// It is here with all there is, or went on here.
    Kept(&'static str),
    LeftOut(String),
    /// It could not be read or written.
    Failed(String),
}

/// The outcome for one session.
pub(super) struct Line {
    key: String,
    fate: Fate,
    /// What was copied, in words.
    copied: String,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
pub struct Entry {
    sessionKey: String,
    action: &'static str,
    detail: Option<String>,
}

/// The agents of the configuration here.
fn agents() -> Result<Agents, Failure> {
    let flags = Flags { allow_unconfigured: true, ..Flags::default() };
    let settings = Settings::resolve(&Env::of_process(), &flags);
    settings.map(|settings| settings.config.agents).map_err(|e| Failure::new(78, e))
}

impl<'t> Source<'t> {
    /// Those of a state directory.
    pub fn directory(path: &Path) -> Result<Self, Failure> {
        Ok(Self::Directory(sessions::stored(path, &agents()?)))
    }

    /// Those of a running gateway.
    pub fn ask(mut client: Client<'t>) -> Result<Self, Failure> {
        let (agents, mut told) = (agents()?, sessions::Stored::default());
        let mut offset = Some(0);
        while let Some(from) = offset {
            client.renew_deadline();
            let params = format!(
                r#"{{"limit":{},"offset":{from},"archived":"all","includeGlobal":true}}"#,
                wire::PAGE
            );
            offset = match client.call("sessions.list", &params) {
                Ok(answer) => wire::page(&answer, &agents, &mut told).filter(|next| *next > from),
                Err(e) => {
                    told.notices
                        .push(format!("sessions are not imported, as the gateway does not list them: {e}"));
                    None
                }
            };
        }
        Ok(Self::Gateway(Box::new(client), told))
    }

    fn told(&self) -> &sessions::Stored {
        let (Self::Directory(told) | Self::Gateway(_, told)) = self;
        told
    }

    /// Whether there is nothing to say of it.
    pub fn is_empty(&self) -> bool {
        self.told().sessions.is_empty() && self.told().notices.is_empty()
    }

    /// Notices for the operator.
    pub fn notices(&self) -> impl Iterator<Item = &String> {
        self.told().notices.iter()
    }

    /// Brings each, if `apply`; what becomes of it. One that fails is no reason to leave the others.
    pub fn bring(&mut self, target: &Target, apply: bool) -> Result<Vec<Line>, Failure> {
        let agents = target.dir.join("agents");
        let incoming = Incoming::open(agents.clone());
        let mut incoming =
            incoming.map_err(|e| Failure::new(1, format!("the sessions here cannot be read: {e}")))?;
        let mut lines = Vec::new();
        let left_out = match self {
            Self::Directory(stored) => {
                for (session, path) in &stored.sessions {
                    lines.push(one(&mut incoming, session, apply, |draft| from_file(path, draft)));
                }
                &stored.left_out
            }
            Self::Gateway(client, told) => {
                for (session, _) in &told.sessions {
                    let fill = |draft: Option<&mut Draft>| match draft {
                        Some(draft) => from_gateway(client, session, &agents, draft),
                        None => Ok(String::new()),
                    };
                    lines.push(one(&mut incoming, session, apply, fill));
                }
                &told.left_out
            }
        };
        lines.extend(left_out.iter().map(|LeftOut { key, why }| Line {
            key: key.clone(),
            fate: Fate::LeftOut(why.clone()),
            copied: String::new(),
        }));
        Ok(lines)
    }
}

/// Brings one session; `fill` writes what was said in it to a draft, and says how much that is.
fn one(
    incoming: &mut Incoming,
    session: &Session,
    apply: bool,
    fill: impl FnOnce(Option<&mut Draft>) -> io::Result<String>,
) -> Line {
    let Session { key, row } = session;
    let mut copied = String::new();
    let bring = || -> io::Result<Fate> {
        let fate = match incoming.here(key, &row.id, row.times.updated)? {
            Here::Nothing => Fate::Added,
            Here::Older => Fate::Updated,
            Here::Same => return Ok(Fate::Kept("it is here")),
            Here::WentOn => return Ok(Fate::Kept("it went on here")),
            Here::Another => {
                let why = format!(
                    "another conversation is here under its key; to have this one: barnacle sessions delete {}, or give it another \
                     key there",
                    key.wire()
                );
                return Ok(Fate::LeftOut(why));
            }
        };
        copied = match apply {
            true => incoming.write(key, row, |draft| fill(Some(draft)))?,
            false => fill(None)?,
        };
        Ok(fate)
    };
    let fate = bring().unwrap_or_else(|e| Fate::Failed(e.to_string()));
    Line { key: key.wire().to_owned(), fate, copied }
}

fn from_file(path: &Path, draft: Option<&mut Draft>) -> io::Result<String> {
    let source = sessions::Source::open(path)?;
    let copied = match draft {
        Some(draft) => source.copy(draft)?,
        None => source.copied,
    };
    let mut words = format!("{} messages", copied.messages);
    if copied.damaged > 0 {
        words.push_str(&format!(", {} damaged lines left out", copied.damaged));
    }
    if copied.other > 0 {
        words.push_str(&format!(", {} entries of other kinds left out", copied.other));
    }
    Ok(words)
}

fn from_gateway(
    client: &mut Client<'_>,
    session: &Session,
    folder: &Path,
    draft: &mut Draft,
) -> io::Result<String> {
    let (key, agent) = (session.key.wire().to_owned(), session.key.agent().to_owned());
    let mut pages = wire::Pages::begin(folder)?;
    let mut offset = Some(0);
    while let Some(from) = offset {
        client.renew_deadline();
        let params = format!(
            r#"{{"sessionKey":{},"agentId":{},"limit":{},"offset":{from},"maxChars":500000}}"#,
            key.serialize_json(),
            agent.serialize_json(),
            wire::PAGE
        );
        let answer = client.call("chat.history", &params).map_err(|e| io::Error::other(e.to_string()))?;
        offset = pages.take(&answer)?.filter(|next| *next > from);
    }
    pages.copy(draft).map(|count| format!("{count} messages"))
}

impl Line {
    fn words(&self) -> (&'static str, Option<String>) {
        match &self.fate {
            Fate::Added => ("add", Some(self.copied.clone()).filter(|copied| !copied.is_empty())),
            Fate::Updated => ("update", Some(self.copied.clone()).filter(|copied| !copied.is_empty())),
            Fate::Kept(why) => ("keep", Some((*why).to_owned())),
            Fate::LeftOut(why) => ("reject", Some(why.clone())),
            Fate::Failed(why) => ("fail", Some(why.clone())),
        }
    }

    /// Whether it could not be brought.
    pub fn failed(&self) -> bool {
        matches!(self.fate, Fate::Failed(_))
    }

    pub fn entry(self) -> Entry {
        let (action, detail) = self.words();
        Entry { action, detail, sessionKey: self.key }
    }
}

/// The sessions as a table; nothing where there are none.
pub(super) fn text(lines: &[Line], applied: bool) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["", "SESSION", ""]);
    for line in lines {
        let (action, detail) = line.words();
        table.row([action.into(), line.key.clone(), plain(&detail.unwrap_or_default())]);
    }
    let count = lines.iter().filter(|line| matches!(line.fate, Fate::Added | Fate::Updated)).count();
    let end = match (count, applied) {
        (0, _) => "no session to import\n".into(),
        (n, true) => format!("{n} sessions imported\n"),
        (_, false) => "Nothing was changed. To import: the same command with --apply\n".into(),
    };
    format!("\n{}\n{end}", table.text())
}
