//! Effects of a changed key on a running gateway. None needs a restart.

/// Effects of changed keys, in the order in which they are applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// The new address is listened on, then the old one closed; connections stay.
    Listen,
    /// New connections speak TLS, with the certificate as it is now, or no longer; connections stay.
    Tls,
    /// The shared credential is read again; connections that rest on the old one alone are closed.
    Credentials,
    /// Applies from the next wrong guess on; earlier guesses stay counted.
    Limits,
    /// Connections to the gateway behind this one are made anew; clients stay attached.
    Upstreams,
    /// Applies to new connections.
    NextConnect,
    /// Applies to the next request over plain HTTP.
    NextPage,
    /// Applies to the next request that waits for the gateway behind this one.
    NextRequest,
    /// Applies to the next call of a node's command.
    NextCall,
    /// Applies to the next request to a model.
    NextRun,
    /// Applies to the next request to a model, and to the next call of a tool.
    NextTool,
    /// Applies when sessions are next tidied: within the hour, and at the next start.
    Upkeep,
    /// Applies from the next log line on.
    Log,
    /// Reported from the next `hello-ok`, `health` and `status` on.
    NextAnswer,
    /// Applies to the next change of the file.
    Reload,
    /// Used by the next command of this host.
    Commands,
    /// None here: the gateway behind this one reads the same file, and uses it.
    Behind,
    /// None: not supported by this version, and the gateway warns of it.
    Unsupported,
    /// None: kept, and not used by this version.
    Unused,
    /// None, and not reported: notes of other programs.
    Silent,
}

use Effect::*;

impl Effect {
    /// The effect as the reference and `config.plan` describe it.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Listen => "the new address is listened on, then the old one is closed; connections stay",
            Tls => {
                "new connections speak TLS with the certificate as it is now, or none; existing connections stay"
            }
            Credentials => {
                "connections that rest on the old shared credential alone are closed (4001 `gateway auth changed`); \
                 devices stay"
            }
            Limits => "from the next wrong guess on; what was counted stays counted",
            Upstreams => "connections to the gateway behind this one are made anew; clients stay attached",
            NextConnect => "for new connections; existing ones stay",
            NextPage => "for the next request over plain HTTP",
            NextRequest => "for the next request that waits",
            NextCall => "for the next call of a node's command",
            NextRun => "for the next request to a model",
            NextTool => "for the next request to a model and the next call of a tool",
            Upkeep => "when sessions are next tidied: within the hour, and at the next start",
            Log => "from the next log line on",
            NextAnswer => "from the next answer that reports it",
            Reload => "for the next change of the file",
            Commands => "for the next command of this host",
            Behind => "none here: OpenClaw uses it",
            Unsupported => "none: not supported by this version, and the gateway warns of it",
            Unused => "none: kept, and not used by this version",
            Silent => "none",
        }
    }

    /// The words for the log, after "applied".
    pub fn done(self) -> &'static str {
        match self {
            Listen => "listeners",
            Tls => "TLS of new connections",
            Credentials => "shared credential",
            Limits => "limits of guessing",
            Upstreams => "upstream connections",
            NextConnect => "new connections",
            NextPage => "next HTTP requests",
            NextRequest => "next waiting requests",
            NextCall => "next node calls",
            NextRun => "next requests to models",
            NextTool => "next calls of tools",
            Upkeep => "next tidying of sessions",
            Log => "log",
            NextAnswer => "next answers",
            Reload => "reloading",
            Commands => "this host's commands",
            Behind => "nothing here (OpenClaw uses it)",
            Unsupported => "nothing (not supported)",
            Unused => "nothing (not used)",
            Silent => "nothing",
        }
    }

    /// Whether a running gateway has something to do or to use.
    pub(crate) fn acts(self) -> bool {
        self < Behind
    }
}
