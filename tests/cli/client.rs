//! The command line as a client: the real binary against a running gateway, and without one.

use crate::wire::{Device, Home, Offer, READ, Server, free_port};
use barnacle::internals::{
    auth::identity::Identity,
    protocol::{Fields, raw_member},
};
use miniserde::json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

/// The output of a command that goes well.
#[track_caller]
fn ok(home: &Home, args: &[&str]) -> String {
    let (code, out, err) = home.run(args);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    out
}

/// The error message of a command that ends with `code`.
#[track_caller]
fn failed(home: &Home, code: i32, args: &[&str]) -> String {
    let (ended, out, err) = home.run(args);
    assert_eq!(ended, code, "{args:?}: {out}{err}");
    err
}

/// A home where nothing is approved by itself: every new device waits.
fn strict() -> Home {
    let home = Home::empty();
    home.gateway(r#"auth:{mode:"token",token:"T1"},nodes:{pairing:{autoApproveLocal:false}}"#);
    home
}

/// Asks to be paired, and is told to wait.
fn ask(server: &Server, offer: Offer<'_>) {
    server.refuse(&offer.token("T1")).expect("PAIRING_REQUIRED");
}

/// A text member of the object `json`.
#[track_caller]
fn member<'a>(json: &'a str, name: &str) -> &'a str {
    raw_member(json, name).unwrap_or_else(|| panic!("no {name} in {json}")).trim_matches('"')
}

/// The devices and requests of `list` in the answer of `devices list --json`.
fn listed(json: &str, list: &str) -> Vec<(String, String)> {
    let value: Value = miniserde::json::from_str(json).unwrap();
    let entries = Fields::of(&value).unwrap().objects(list);
    entries.map(|f| (f.text("deviceId").to_owned(), f.text("requestId").to_owned())).collect()
}

#[test]
fn status_health_logs_and_call_answer() {
    let home = Home::fix();
    let server = home.start();
    let status = ok(&home, &["status"]);
    assert!(status.contains(&format!("process {}", server.pid())), "{status}");
    let json = ok(&home, &["status", "--json"]);
    assert_eq!(raw_member(raw_member(&json, "barnacle").unwrap(), "port"), Some(&*home.port.to_string()));
    assert!(ok(&home, &["health"]).starts_with(&format!("ok: ws://127.0.0.1:{} (", home.port)));
    assert_eq!(raw_member(&ok(&home, &["call", "health"]), "ok"), Some("true"));
    let by_params = ok(&home, &["call", "logs.tail", "--params", r#"{"limit":1}"#]);
    assert_eq!(member(&by_params, "file"), "(memory)");
    let last = ok(&home, &["logs", "-n", "1"]);
    assert_eq!(last.lines().count(), 1);
    // The scope asked for is the least that will do.
    assert!(last.contains("attached operator") && last.contains("[operator.read]"), "{last}");
}

#[test]
fn the_exit_code_tells_what_went_wrong() {
    let home = Home::fix();
    let server = home.start();
    assert!(failed(&home, 1, &["call", "no.such.method"]).contains("unknown method: no.such.method"));
    assert!(failed(&home, 2, &["call", "health", "[]"]).contains("JSON object"));
    assert!(
        failed(&home, 2, &["devices", "nix"])
            .contains("no command 'devices nix'\nTry: barnacle devices --help")
    );
    assert!(failed(&home, 2, &["status", "--nix"]).contains("unexpected argument '--nix'"));
    assert!(failed(&home, 2, &["status", "--url", "pi:18789"]).contains("wss://<host>:<port>"));
    let refused = failed(&home, 4, &["status", "--token", "wrong"]);
    assert!(refused.contains("gateway token mismatch") && refused.contains("send that one"), "{refused}");
    server.stop();
    assert!(failed(&home, 3, &["status"]).contains("nobody listens there"));
    home.config(r#"{ gateway: { mode: "remote", remote: { url: "pi:18789" } } }"#);
    assert!(failed(&home, 78, &["status"]).contains("gateway.remote.url"));
    // A server that takes the connection and never says a word; then one that closes at once.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let slow = failed(&home, 3, &["status", "--url", &url, "--timeout", "100"]);
    assert!(slow.contains("within 100 ms"), "{slow}");
    let server = std::thread::spawn(move || (drop(silent.accept()), drop(silent.accept())));
    failed(&home, 3, &["status", "--url", &url]);
    server.join().unwrap();
}

/// The one of this state directory, wherever it listens: by `--port`, or where the file said before.
#[test]
fn every_command_finds_the_gateway_that_runs() {
    let home = Home::fix();
    let port = free_port();
    let server = Server::spawn(home.command(&["gateway", "--port", &port.to_string()]), port);
    let found = |port: u16| {
        let status = ok(&home, &["status"]);
        assert!(status.contains(&format!("process {}", server.pid())), "{status}");
        let status = ok(&home, &["gateway", "status", "--json", "--require-rpc"]);
        let gateway = raw_member(&status, "gateway").unwrap();
        assert_eq!(raw_member(gateway, "port"), Some(&*port.to_string()));
        assert_eq!(member(gateway, "probeUrl"), format!("ws://127.0.0.1:{port}"));
        assert!(raw_member(&status, "port").unwrap().contains("busy"), "{status}");
        for command in [&["health"][..], &["call", "health"], &["logs", "-n", "1"], &["devices"]] {
            ok(&home, command);
        }
    };
    found(port);
    let (_, doctor, _) = home.run(&["doctor"]);
    assert!(doctor.contains(&format!("listens on port {port}; the configuration says {}", home.port)));
    let restarted = ok(&home, &["gateway", "restart"]);
    assert!(restarted.contains(&format!("ws://127.0.0.1:{port} restarted")), "{restarted}");
    found(port);
    // What was named counts more.
    let with = |name, value: &str| home.command(&["health"]).env(name, value).output().unwrap();
    assert_eq!(with("OPENCLAW_GATEWAY_PORT", &free_port().to_string()).status.code(), Some(3));
    assert_eq!(
        with("OPENCLAW_GATEWAY_URL", &format!("ws://127.0.0.1:{}", free_port())).status.code(),
        Some(3)
    );
    assert_eq!(with("OPENCLAW_GATEWAY_URL", &server.url()).status.code(), Some(0));
    let bad = with("OPENCLAW_GATEWAY_URL", "pi");
    assert_eq!(bad.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("OPENCLAW_GATEWAY_URL: pi: must be ws://"));
    server.stop();
    assert!(failed(&home, 3, &["status"]).contains(&format!("127.0.0.1:{}: nobody listens", home.port)));
}

#[test]
fn every_command_finds_the_gateway_that_moved() {
    let home = Home::fix();
    let server = Server::spawn(home.command(&["gateway"]), home.port);
    let [moved, unheard] = [free_port(), free_port()];
    let listens = |port, more: &str| {
        home.config(&format!("{{gateway:{{mode:'local',port:{port},auth:{{token:'T1'}},{more}}}}}"));
    };
    listens(moved, "reload:{mode:'hot'}");
    server.wait_log(&["configuration reloaded"]);
    listens(unheard, "reload:{mode:'off'},tls:{enabled:true}");
    server.wait_log(&["takes effect at the next restart"]);
    let status = ok(&home, &["status"]);
    assert!(status.contains(&format!("ws://127.0.0.1:{moved} ")), "{status}");
}

/// As a proxy or a container's published port: what is loopback here is not the gateway's.
#[test]
fn a_forwarded_port_needs_a_device() {
    let (home, away) = (strict(), Home::empty());
    let server = home.start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, to) = (format!("ws://{}", port.local_addr().unwrap()), ("127.0.0.1", home.port));
    std::thread::spawn(move || {
        for mut near in port.incoming().map_while(Result::ok) {
            let mut far = TcpStream::connect(to).unwrap();
            // The first line as it came, then who it is from.
            let mut byte = [0];
            while byte != [b'\n'] && near.read_exact(&mut byte).is_ok() {
                far.write_all(&byte).unwrap();
            }
            far.write_all(b"X-Forwarded-For: 192.0.2.7\r\n").unwrap();
            let mut back = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
            std::thread::spawn(move || std::io::copy(&mut near, &mut far));
        }
    });
    let printed = failed(&away, 4, &["status", "--url", &url, "--token", "T1"]);
    let request = printed.split("devices approve ").nth(1).and_then(|rest| rest.split_whitespace().next());
    ok(&home, &["devices", "approve", request.unwrap_or_else(|| panic!("{printed}"))]);
    let status = ok(&away, &["status", "--url", &url]);
    assert!(status.contains(&format!("process {}", server.pid())), "{status}");
}

#[test]
fn help_is_there_for_each_command() {
    let home = Home::empty();
    for command in [
        "gateway", "status", "health", "doctor", "devices", "chat", "agent", "sessions", "models", "import",
        "logs", "call",
    ] {
        let text = ok(&home, &[command, "--help"]);
        assert!(text.contains(&format!("Usage: barnacle {command}")), "{text}");
        assert!(ok(&home, &["--help"]).contains(&format!("\n  {command}")));
    }
}

/// The reference lists the commands as their rows declare them: `barnacle --markdown`.
#[test]
fn the_reference_lists_every_command() {
    let table = ok(&Home::empty(), &["--markdown"]);
    assert!(table.lines().count() > 20, "{table}");
    let page = include_str!("../../docs/commands.md");
    assert!(page.contains(&table), "docs/commands.md has to hold:\n{table}");
}

#[test]
fn a_secret_comes_from_the_first_place_that_has_one() {
    let home = Home::fix();
    let server = home.start();
    let (url, elsewhere) = (server.url(), Home::empty());
    failed(&elsewhere, 4, &["health", "--url", &url]);
    ok(&elsewhere, &["health", "--url", &url, "--token", "T1"]);
    // The environment before the config, the command line before the environment.
    let with_env = |token, args: &[&str]| {
        home.command(args).env("OPENCLAW_GATEWAY_TOKEN", token).output().unwrap().status.code()
    };
    assert_eq!(with_env("stale", &["health"]), Some(4));
    assert_eq!(with_env("stale", &["health", "--token", "T1"]), Some(0));
    // A remote token is for a URL that was named, not for this host's own gateway.
    elsewhere.config(&format!(r#"{{ gateway: {{ port: {}, remote: {{ token: "T1" }} }} }}"#, home.port));
    failed(&elsewhere, 4, &["health"]);
    ok(&elsewhere, &["health", "--url", &url]);
    let remote = format!(r#"{{ gateway: {{ mode: "remote", remote: {{ url: "{url}", token: "T1" }} }} }}"#);
    elsewhere.config(&remote.replace("ws://", "http://"));
    ok(&elsewhere, &["health"]);
}

#[test]
fn devices_are_managed_through_the_gateway() {
    let home = strict();
    let server = home.start();
    let (phone, node, page) = (Device::new(), Device::new(), Device::new());
    let of_page = || Offer::device(&page).client("openclaw-control-ui", "webchat");
    ask(&server, Offer::device(&phone).scopes(&["operator.read", "operator.write"]));
    ask(&server, Offer::node(&node, &[]));
    ask(&server, of_page());
    let pending = listed(&ok(&home, &["devices", "list", "--json"]), "pending");
    assert_eq!(pending.len(), 3);
    // The newest is shown, and not approved by being so.
    let (code, out, err) = home.run(&["devices", "approve", "--latest"]);
    assert!(code == 1 && out.contains("PENDING REQUEST"), "{out}");
    assert!(err.contains(&format!("devices approve {}", pending[2].1)), "{err}");
    assert_eq!(listed(&ok(&home, &["devices", "--json"]), "paired").len(), 0);
    // By request id, by device id, and by enough digits of either; five are not enough.
    assert!(failed(&home, 1, &["devices", "approve", &phone.id()[..5]]).contains("six digits"));
    let answer = ok(&home, &["devices", "approve", &pending[0].1, "--json"]);
    assert_eq!(member(&answer, "requestId"), pending[0].1);
    assert!(ok(&home, &["devices", "approve", &node.id()[..8]]).contains("for node"));
    ok(&home, &["devices", "approve", &pending[2].1[..13]]);
    let first = server.connect(&Offer::device(&phone)).device_token();
    ok(&home, &["devices", "rename", "--device", &phone.id(), "--name", "Kitchen \u{1b}[31m"]);
    let table = ok(&home, &["devices"]);
    assert!(table.contains("Kitchen [31m") && !table.contains('\u{1b}'), "{table}");
    // Rotated: the device is handed another token.
    ok(&home, &["devices", "rotate", "--device", &phone.id(), "--role", "operator"]);
    assert_ne!(server.connect(&Offer::device(&phone)).device_token(), first);
    let narrow =
        ["devices", "rotate", &phone.id(), "--role", "operator", "--scope", "operator.read", "--json"];
    assert_eq!(raw_member(&ok(&home, &narrow), "scopes"), Some(r#"["operator.read"]"#));
    // Revoked: the live connection closes, and only the browser's.
    let mut open = server.connect(&of_page());
    let revoked = ok(&home, &["devices", "revoke", "--all-browsers"]);
    assert_eq!(revoked.lines().count(), 1, "{revoked}");
    assert_eq!(open.closed().0, 1008);
    assert!(ok(&home, &["devices", "revoke", "--all-browsers"]).contains("no browser"));
    server.connect(&Offer::device(&phone));
    ok(&home, &["devices", "revoke", &node.id()[..6], "--role", "node"]);
    let refused = server.refuse(&Offer::node(&node, &[]));
    assert_eq!(refused.get("details.reason"), "role-upgrade", "{refused:?}");
    ok(&home, &["devices", "reject", &node.id()]);
    ok(&home, &["devices", "remove", &page.id()]);
    assert!(failed(&home, 1, &["devices", "remove", &page.id()]).contains("no device"));
    failed(&home, 2, &["devices", "clear"]);
    ask(&server, Offer::device(&Device::new()));
    let cleared = ok(&home, &["devices", "clear", "--yes", "--pending"]);
    assert_eq!(cleared, "removed 2 devices, rejected 1 requests\n");
    assert_eq!(ok(&home, &["devices"]), "no paired devices\n");
}

#[test]
fn devices_are_managed_without_a_gateway() {
    let home = strict();
    let server = home.start();
    let (phone, tablet) = (Device::new(), Device::new());
    ask(&server, Offer::device(&phone));
    ask(&server, Offer::node(&tablet, &[]));
    server.stop();
    assert_eq!(listed(&ok(&home, &["devices", "list", "--json"]), "pending").len(), 2);
    let (code, out, err) = home.run(&["devices", "approve", &phone.id()]);
    assert!(code == 0 && out.contains("approved"), "{out}");
    assert!(err.contains(&format!("no gateway runs; changed {} directly", home.tokens().display())), "{err}");
    ok(&home, &["devices", "approve", &tablet.id()[..6]]);
    ok(&home, &["devices", "rename", &phone.id(), "Kitchen"]);
    ok(&home, &["devices", "rotate", &phone.id(), "--role", "operator"]);
    ok(&home, &["devices", "revoke", &tablet.id(), "--role", "node"]);
    let text = ok(&home, &["devices"]);
    assert!(text.contains("Kitchen") && text.contains("node (revoked)"), "{text}");
    // What was done directly holds once a gateway runs.
    let server = home.start();
    server.connect(&Offer::device(&phone));
    assert!(server.refuse(&Offer::node(&tablet, &[])).get("message").contains("revoked"));
    // A gateway that listens elsewhere is not gone behind.
    let wrong_port =
        home.command(&["devices"]).env("OPENCLAW_GATEWAY_PORT", free_port().to_string()).output();
    let wrong_port = wrong_port.unwrap();
    let printed = String::from_utf8(wrong_port.stderr).unwrap();
    assert!(printed.contains(&format!("process {}", server.pid())), "{printed}");
    assert_eq!(wrong_port.status.code(), Some(1));
    server.stop();
    ok(&home, &["devices", "remove", &phone.id()]);
    assert!(!ok(&home, &["devices"]).contains("Kitchen"));
}

#[test]
fn a_paired_command_line_needs_no_secret() {
    let home = Home::fix();
    let server = home.start();
    let (url, laptop) = (server.url(), Home::empty());
    // Refused without a device, it shows its key; that is unknown as yet.
    failed(&laptop, 4, &["health", "--url", &url]);
    let path = laptop.store().join("cli.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let key = Identity::from_seed(&std::fs::read(&path).unwrap().try_into().unwrap());
    server.connect(&Offer::device(&Device { key, token: None }).token("T1").scopes(READ));
    ok(&laptop, &["health", "--url", &url]);
    ok(&laptop, &["health", "--url", &url, "--token", "stale"]);
    // What its device was not approved for, it does not get, and learns how to.
    let refused = failed(&laptop, 4, &["devices", "--url", &url]);
    assert!(refused.contains("missing scope") && refused.contains("barnacle devices approve"), "{refused}");
}

#[test]
fn a_rejected_credential_is_named_with_its_source() {
    let home = Home::fix();
    let server = home.start();
    let output = home.command(&["status"]).env("OPENCLAW_GATEWAY_TOKEN", "stale").output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{printed}");
    assert!(printed.contains("sent from here: the environment variable OPENCLAW_GATEWAY_TOKEN"), "{printed}");
    server.stop();
}

#[test]
fn force_takes_the_place_of_a_gateway_whose_parent_does_not_wait() {
    let home = Home::fix();
    // This process waits for it only at the end: until then it is a zombie, with its number and its name.
    let old = home.start();
    let new = home.start_with(&["--force"], &[]);
    ok(&home, &["health"]);
    new.stop();
    old.stop();
}

#[test]
fn logs_are_followed_through_a_restart_line_by_line() {
    let home = Home::fix();
    let server = home.start();
    let mut follow = home.command(&["logs", "-f", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next = |word: &str| lines.any(|line| line.contains(word));
    assert!(next("attached operator"), "not even its own arrival, the one line asked for");
    server.kill();
    let server = home.start();
    assert!(next("listening on"), "it gave up when the gateway went, or left lines out");
    server.stop();
    follow.kill().unwrap();
    follow.wait().unwrap();
}
