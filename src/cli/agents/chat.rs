//! `barnacle chat`: a conversation with an agent, a line a message.

use super::{
    agent::{AGENT, SESSION, place},
    turn::{End, Place, Turn, attach, run_id, shown},
};
use crate::{
    cli::{Command, Failure, Opt, args::Args, print},
    client::{Client, Target},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use std::{
    io::{self, IsTerminal, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    thread,
};

pub(in crate::cli) static COMMAND: Command = Command {
    name: "chat",
    summary: "talk with an agent in this terminal",
    about: "Talk with an agent: each line is a message, and its answer is printed as it is said. A gateway that is \
            restarted meanwhile goes on with it.",
    notes: "Ctrl-C aborts the answer, and once more leaves; so do /quit and the end of the input. Other lines that \
            begin with / are the gateway's to understand. From a pipe each line is asked when the one before is \
            answered.",
    options: &[SESSION, AGENT, Opt::value(&["message", "m"], "<text>", "a message to begin with")],
    calls: true,
    run,
    ..Command::NONE
};

/// The exit code after Ctrl-C: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

fn run(args: Args) -> Result<(), Failure> {
    let target = Arc::new(args.target()?);
    let place = place(&args);
    let mut client = Some(attach(&target).map_err(|e| Failure::of(e, &target))?);
    let going: Arc<Going> = Arc::default();
    end_on_signal(target.clone(), place.clone(), going.clone())?;
    let asks = io::stdin().is_terminal() && io::stdout().is_terminal();
    if asks {
        eprintln!(
            "session {} at {}. Ctrl-C aborts an answer, and once more leaves.",
            place.session, target.url
        );
    }
    let mut lines = Lines::default();
    let (mut messages, mut failed) = (0, 0);
    let mut first = args.text("message").map(String::from);
    loop {
        if asks {
            print("> ")?;
        }
        let line = match first.take() {
            Some(message) => Some(message),
            None => lines.next(&mut client)?,
        };
        let Some(line) = line.filter(|line| !matches!(line.trim(), "/quit" | "/exit")) else { break };
        if line.trim().is_empty() {
            continue;
        }
        messages += 1;
        if let Err(why) = say(&target, &place, &going, &mut client, &line) {
            if why.code != 1 {
                return Err(why);
            }
            failed += 1;
            eprintln!("barnacle: {}", why.message);
        }
    }
    if asks {
        print("\n")?;
    }
    match failed {
        0 => Ok(()),
        _ if asks => Ok(()),
        failed => Err(Failure::new(1, format!("{failed} of {messages} messages were not answered"))),
    }
}

/// Sends a message and prints its answer as it is said.
fn say<'t>(
    target: &'t Target,
    place: &Place,
    going: &Going,
    client: &mut Option<Client<'t>>,
    text: &str,
) -> Result<(), Failure> {
    let id = run_id()?;
    going.set(Some(Run { id: id.clone(), aborted: false }));
    let mut printed = String::new();
    let mut broken = None;
    let turn = Turn { place, text, id, until: None };
    let ended = turn.run(target, client, |said| {
        broken = broken.take().or(print(&news(&mut printed, said)).err());
    });
    going.set(None);
    if !printed.is_empty() {
        print("\n")?;
    }
    broken.map_or(Ok(()), Err)?;
    match ended?.0 {
        End::Answered => Ok(()),
        End::Aborted => Err(Failure::new(1, "aborted")),
        End::Failed(why) => Err(Failure::new(1, shown(&why))),
    }
}

/// What is to be printed so that `said` stands there after `printed`; an answer that begins anew begins on a new line.
fn news(printed: &mut String, said: &str) -> String {
    let said = shown(said);
    let text = match said.strip_prefix(printed.as_str()) {
        Some(more) => more.to_owned(),
        None if printed.starts_with(&said) => return String::new(),
        None => format!("\n{said}"),
    };
    *printed = said;
    text
}

/// The run under way.
#[derive(Default)]
struct Going(Mutex<Option<Run>>);

#[derive(Clone)]
struct Run {
    id: String,
    aborted: bool,
}

impl Going {
    fn set(&self, run: Option<Run>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }

    /// The run that is to be aborted, unless it is already.
    fn abort(&self) -> Option<String> {
        let mut run = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = run.as_mut().filter(|run| !run.aborted)?;
        run.aborted = true;
        Some(run.id.clone())
    }
}

/// Aborts the run under way at the first Ctrl-C, over a connection of its own; leaves at the next, or where none is.
fn end_on_signal(target: Arc<Target>, place: Place, going: Arc<Going>) -> Result<(), Failure> {
    let told = |e: io::Error| Failure::new(1, format!("no handler for Ctrl-C: {e}"));
    let (mut heard, handler) = UnixStream::pair().map_err(told)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, handler).map_err(told)?;
    thread::spawn(move || {
        while heard.read(&mut [0; 1]).is_ok_and(|n| n == 1) {
            let Some(id) = going.abort() else { std::process::exit(INTERRUPTED) };
            let (target, place) = (target.clone(), place.clone());
            thread::spawn(move || {
                let params = place.params("sessionKey", &[("runId", &id)]);
                let aborted =
                    attach(&target).and_then(|mut client| client.call("chat.abort", &params).map(drop));
                if let Err(e) = aborted {
                    eprintln!("barnacle: not aborted: {e}\nCtrl-C once more leaves.");
                }
            });
        }
    });
    Ok(())
}

/// The lines of standard input.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The next line; `None` at the end. Meanwhile `client` stays attached, as far as its connection lasts.
    fn next(&mut self, client: &mut Option<Client<'_>>) -> Result<Option<String>, Failure> {
        let told = |e: io::Error| Failure::new(1, format!("standard input: {e}"));
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            let (stdin, input) = (io::stdin(), PollFlags::IN);
            let fd: BorrowedFd<'_> = stdin.as_fd();
            let mut waits = vec![PollFd::from_borrowed_fd(fd, input)];
            waits.extend(client.as_ref().map(|client| PollFd::from_borrowed_fd(client.as_fd(), input)));
            match poll(&mut waits, None) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(|e| told(e.into()))?,
            };
            let ready = |at: usize| waits.get(at).is_some_and(|fd: &PollFd<'_>| !fd.revents().is_empty());
            let (typed, heard) = (ready(0), ready(1));
            drop(waits);
            if heard && client.as_mut().is_some_and(|client| client.stay().is_err()) {
                // The next message has another one made.
                *client = None;
            }
            if let Some(client) = client {
                client.forget_events();
            }
            if typed {
                let mut chunk = [0; 4096];
                match rustix::io::read(fd, &mut chunk) {
                    Ok(0) => self.ended = true,
                    Ok(n) => self.buffer.extend(&chunk[..n]),
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(told(e.into())),
                }
            }
        }
    }

    /// A line that was read; the last one need not be whole.
    fn take(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|b| *b == b'\n');
        let length = match end {
            Some(at) => at + 1,
            None if self.ended && !self.buffer.is_empty() => self.buffer.len(),
            None => return None,
        };
        let line: Vec<u8> = self.buffer.drain(..length).collect();
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_printed_as_it_grows() {
        let mut printed = String::new();
        let rows = [
            ("He", "He"),
            ("Hello", "llo"),
            ("Hello", ""),
            ("Hel", ""),
            ("Hello\u{1b}[2J!", "[2J!"),
            ("Anew", "\nAnew"),
        ];
        for (said, expected) in rows {
            assert_eq!(news(&mut printed, said), expected, "{said:?}");
        }
    }

    #[test]
    fn lines_are_cut_where_they_end() {
        let mut lines = Lines { buffer: b"a\r\n\nb".to_vec(), ended: false };
        assert_eq!((lines.take(), lines.take(), lines.take()), (Some("a".into()), Some(String::new()), None));
        lines.ended = true;
        assert_eq!((lines.take(), lines.take()), (Some("b".into()), None));
    }
}
