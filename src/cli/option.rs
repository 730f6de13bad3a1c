//! Options of commands: their rows, and those of every command that calls a gateway.

/// An option of a command.
pub(crate) struct Opt {
    /// Its names without dashes, the first as help shows it; a name of one letter is a short option.
    pub names: &'static [&'static str],
    /// The placeholder of its value; `None` for a flag.
    pub value: Option<&'static str>,
    /// Its line in the help text; empty for an option that help does not list.
    pub help: &'static str,
}

impl Opt {
    pub(super) const fn flag(names: &'static [&'static str], help: &'static str) -> Self {
        Self { names, value: None, help }
    }

    pub(super) const fn value(
        names: &'static [&'static str],
        value: &'static str,
        help: &'static str,
    ) -> Self {
        Self { names, value: Some(value), help }
    }

    fn dashed(name: &str) -> String {
        if name.len() == 1 { format!("-{name}") } else { format!("--{name}") }
    }

    /// `-n, --limit <lines>`
    pub(super) fn usage(&self) -> String {
        let mut names = self.names[..1].to_vec();
        names.extend(self.names.iter().find(|name| name.len() == 1));
        names.sort_by_key(|name| name.len());
        let names: Vec<_> = names.into_iter().map(Self::dashed).collect();
        let value = self.value.map(|value| format!(" {value}")).unwrap_or_default();
        names.join(", ") + &value
    }
}

/// Options of every command that calls a gateway.
pub(super) static CALL: &[Opt] = &[
    Opt::value(
        &["url"],
        "<url>",
        "the gateway [OPENCLAW_GATEWAY_URL, gateway.remote.url if gateway.mode is remote, else the one of this host \
         and state directory]",
    ),
    Opt::value(
        &["token"],
        "<token>",
        "its shared token [OPENCLAW_GATEWAY_TOKEN, gateway.remote.token, gateway.auth.token]",
    ),
    Opt::value(
        &["password"],
        "<password>",
        "its shared password [OPENCLAW_GATEWAY_PASSWORD, gateway.auth.password]",
    ),
    Opt::value(
        &["tls-fingerprint"],
        "<sha256>",
        "the certificate to trust [gateway.remote.tlsFingerprint, this host's own]",
    ),
    Opt::value(&["timeout"], "<ms>", "time limit of the whole command [10000]"),
    Opt::flag(&["json"], "print the answer as JSON"),
];
/// `--help`.
pub(super) const HELP: Opt = Opt::flag(&["help", "h"], "print this help");
/// The exit codes of every command that calls a gateway, for help texts.
pub(super) const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 usage, 3 no gateway reached, 4 refused, 78 configuration.";
