//! The command line as a client: the real binary against a real gateway, and against none.

mod device;
mod home;
mod process;

use barnacle::protocol::{Fields, raw_member};
use device::{Device, member};
use home::Home;
use miniserde::json::Value;
use process::{Gateway, free_port, run};
use std::net::TcpListener;

const CONFIG: &str = r#"{ gateway: { mode: "local", auth: { token: "the-shared-token" } } }"#;
/// Nothing is approved by itself: every new device waits.
const STRICT: &str = r#"{ gateway: { mode: "local", auth: { token: "the-shared-token" },
    nodes: { pairing: { autoApproveLocal: false } } } }"#;

/// The entries of `list` in the answer of `devices list --json`.
fn listed(json: &str, list: &str) -> Vec<(String, String)> {
    let value: Value = miniserde::json::from_str(json).unwrap();
    let entries = Fields::of(&value).unwrap().objects(list);
    entries.map(|f| (f.text("deviceId").to_owned(), f.text("requestId").to_owned())).collect()
}

#[test]
fn status_health_logs_and_call_answer() {
    let home = Home::with(CONFIG);
    let gateway = Gateway::start(&home);
    let barnacle = |args: &[&str]| run(&home, gateway.port, args);
    let status = barnacle(&["status"]).ok();
    assert!(status.contains(&format!("process {}", gateway.pid())), "{status}");
    let json = barnacle(&["status", "--json"]).ok();
    assert_eq!(raw_member(raw_member(&json, "barnacle").unwrap(), "port"), Some(&*gateway.port.to_string()));
    assert!(barnacle(&["health"]).ok().contains("is well"));
    assert_eq!(raw_member(&barnacle(&["call", "health"]).ok(), "ok"), Some("true"));
    let by_params = barnacle(&["call", "logs.tail", "--params", r#"{"limit":1}"#]).ok();
    assert_eq!(member(&by_params, "file"), "(memory)");
    let last = barnacle(&["logs", "-n", "1"]).ok();
    assert_eq!(last.lines().count(), 1);
    assert!(last.contains("attached operator"), "{last}");
    // The scope asked for is the least that will do.
    assert!(last.contains("[operator.read]"), "{last}");
}

#[test]
fn the_exit_code_tells_what_went_wrong() {
    let home = Home::with(CONFIG);
    let gateway = Gateway::start(&home);
    let barnacle = |args: &[&str]| run(&home, gateway.port, args);
    assert!(barnacle(&["call", "no.such.method"]).failed(1).contains("unknown method: no.such.method"));
    assert!(barnacle(&["call", "health", "[]"]).failed(2).contains("JSON object"));
    assert!(barnacle(&["devices", "nix"]).failed(2).contains("no command devices nix"));
    assert!(barnacle(&["status", "--nix"]).failed(2).contains("no option --nix"));
    assert!(barnacle(&["status", "--url", "wss://pi"]).failed(2).contains("ssh -N -L"));
    let refused = barnacle(&["status", "--token", "wrong"]).failed(4);
    assert!(refused.contains("gateway token mismatch") && refused.contains("send that one"), "{refused}");
    assert!(run(&home, free_port(), &["status"]).failed(3).contains("nobody listens there"));
    let web = Home::with(r#"{ gateway: { mode: "remote", remote: { url: "wss://pi" } } }"#);
    assert!(run(&web, gateway.port, &["status"]).failed(78).contains("gateway.remote.url"));
    // A server that takes the connection and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    assert!(run(&home, port, &["status", "--timeout", "100"]).failed(3).contains("within 100 ms"));
    // One that is no gateway, and closes at once.
    let server = std::thread::spawn(move || drop(silent.accept()));
    assert_eq!(run(&home, port, &["status"]).code, 3);
    server.join().unwrap();
}

#[test]
fn help_is_there_for_each_command() {
    let home = Home::new();
    for command in ["gateway", "status", "health", "devices", "import", "logs", "call"] {
        let text = run(&home, 1, &[command, "--help"]).ok();
        assert!(text.contains(&format!("Usage: barnacle {command}")), "{text}");
        assert!(run(&home, 1, &["--help"]).ok().contains(&format!("\n  {command}")));
    }
}

#[test]
fn a_secret_comes_from_the_first_place_that_has_one() {
    let home = Home::with(CONFIG);
    let gateway = Gateway::start(&home);
    let elsewhere = Home::new();
    // No secret at all, then the command line's.
    assert_eq!(run(&elsewhere, gateway.port, &["health"]).code, 4);
    run(&elsewhere, gateway.port, &["health", "--token", "the-shared-token"]).ok();
    // gateway.remote.* of a host whose gateway is elsewhere.
    let remote = format!(
        r#"{{ gateway: {{ mode: "remote", remote: {{ url: "{}", token: "the-shared-token" }} }} }}"#,
        gateway.url().replace("ws://", "http://")
    );
    run(&Home::with(&remote), 1, &["health"]).ok();
    // A remote token is for a URL that was named, not for this host's own gateway.
    let own = r#"{ gateway: { remote: { token: "the-shared-token" } } }"#;
    assert_eq!(run(&Home::with(own), gateway.port, &["health"]).code, 4);
    run(&Home::with(own), 1, &["health", "--url", &gateway.url()]).ok();
}

#[test]
fn devices_are_managed_through_the_gateway() {
    let home = Home::with(STRICT);
    let gateway = Gateway::start(&home);
    manage(&home, gateway.port, &gateway.url());
}

#[test]
fn devices_are_managed_without_a_gateway() {
    let home = Home::with(STRICT);
    let gateway = Gateway::start(&home);
    let (port, url) = (gateway.port, gateway.url());
    let (phone, tablet) = (Device::new(1), Device::new(2));
    phone.attach(&url, Some("the-shared-token"), "operator", &["operator.read"]).error();
    tablet.attach(&url, Some("the-shared-token"), "node", &[]).error();
    gateway.stop();
    let barnacle = |args: &[&str]| run(&home, port, args);
    let list = barnacle(&["devices", "list", "--json"]).ok();
    let approved = barnacle(&["devices", "approve", &phone.id()]);
    assert!(approved.err.contains("no gateway runs; changed") && approved.err.contains("tokens.bin"));
    assert!(approved.ok().contains("approved"));
    assert_eq!(listed(&list, "pending").len(), 2);
    barnacle(&["devices", "approve", &tablet.id()[..6]]).ok();
    barnacle(&["devices", "rename", &phone.id(), "Kitchen"]).ok();
    barnacle(&["devices", "rotate", &phone.id(), "--role", "operator"]).ok();
    barnacle(&["devices", "revoke", &tablet.id(), "--role", "node"]).ok();
    let text = barnacle(&["devices"]).ok();
    assert!(text.contains("Kitchen") && text.contains("node (revoked)"), "{text}");
    // What was done directly holds once a gateway runs.
    let gateway = Gateway::start(&home);
    phone.attach(&gateway.url(), None, "operator", &["operator.read"]).hello();
    assert!(tablet.attach(&gateway.url(), None, "node", &[]).error().contains("revoked"));
    // A gateway on another port is not gone behind.
    let locked = run(&home, port, &["devices"]).failed(1);
    assert!(locked.contains(&format!("process {}", gateway.pid())), "{locked}");
    gateway.stop();
    barnacle(&["devices", "remove", &phone.id()]).ok();
    assert!(!barnacle(&["devices"]).ok().contains("Kitchen"));
}

/// Every command of `devices` once.
fn manage(home: &Home, port: u16, url: &str) {
    let barnacle = |args: &[&str]| run(home, port, args);
    let (phone, node, page) = (Device::new(1), Device::new(2), Device::browser(3));
    let secret = Some("the-shared-token");
    phone.attach(url, secret, "operator", &["operator.read", "operator.write"]).error();
    node.attach(url, secret, "node", &[]).error();
    page.attach(url, secret, "operator", &["operator.read"]).error();
    let pending = listed(&barnacle(&["devices", "list", "--json"]).ok(), "pending");
    assert_eq!(pending.len(), 3);
    // The newest is shown, and not approved by being so.
    let shown = barnacle(&["devices", "approve", "--latest"]);
    assert!(shown.out.contains("WAITING REQUEST"), "{shown:?}");
    assert!(shown.failed(1).contains(&format!("devices approve {}", pending[2].1)));
    assert_eq!(listed(&barnacle(&["devices", "--json"]).ok(), "paired").len(), 0);
    // By request id, by device id, and by enough digits of either; five are not enough.
    assert!(barnacle(&["devices", "approve", &phone.id()[..5]]).failed(1).contains("six digits"));
    let answer = barnacle(&["devices", "approve", &pending[0].1, "--json"]).ok();
    assert_eq!(member(&answer, "requestId"), pending[0].1);
    assert!(barnacle(&["devices", "approve", &node.id()[..8]]).ok().contains("for node"));
    barnacle(&["devices", "approve", &pending[2].1[..13]]).ok();
    let first = phone.attach(url, None, "operator", &["operator.read"]).token().to_owned();
    barnacle(&["devices", "rename", "--device", &phone.id(), "--name", "Kitchen \u{1b}[31m"]).ok();
    let table = barnacle(&["devices"]).ok();
    assert!(table.contains("Kitchen [31m") && !table.contains('\u{1b}'), "{table}");
    // Rotated: the device is handed another token.
    barnacle(&["devices", "rotate", "--device", &phone.id(), "--role", "operator"]).ok();
    assert_ne!(phone.attach(url, None, "operator", &["operator.read"]).token(), first);
    let narrow =
        ["devices", "rotate", &phone.id(), "--role", "operator", "--scope", "operator.read", "--json"];
    assert_eq!(raw_member(&barnacle(&narrow).ok(), "scopes"), Some(r#"["operator.read"]"#));
    // Revoked: the live connection closes, and only the browser's.
    let open = page.attach(url, None, "operator", &["operator.read"]);
    let revoked = barnacle(&["devices", "revoke", "--all-browsers"]).ok();
    assert_eq!(revoked.lines().count(), 1, "{revoked}");
    assert_eq!(open.closed(), 1008);
    assert!(barnacle(&["devices", "revoke", "--all-browsers"]).ok().contains("no browser"));
    phone.attach(url, None, "operator", &["operator.read"]).hello();
    barnacle(&["devices", "revoke", &node.id()[..6], "--role", "node"]).ok();
    assert!(node.attach(url, None, "node", &[]).error().contains("role-upgrade"));
    barnacle(&["devices", "reject", &node.id()]).ok();
    barnacle(&["devices", "remove", &page.id()]).ok();
    assert!(barnacle(&["devices", "remove", &page.id()]).failed(1).contains("no device"));
    assert_eq!(barnacle(&["devices", "clear"]).code, 2);
    Device::new(9).attach(url, secret, "operator", &["operator.read"]).error();
    let cleared = barnacle(&["devices", "clear", "--yes", "--pending"]).ok();
    assert_eq!(cleared, "removed 2 devices, rejected 1 requests\n");
    assert_eq!(barnacle(&["devices"]).ok(), "No device is paired.\n");
}

#[test]
fn a_paired_command_line_needs_no_secret() {
    let home = Home::with(CONFIG);
    let gateway = Gateway::start(&home);
    let laptop = Home::new();
    // Refused without a device, it shows its key; that is unknown as yet.
    assert_eq!(run(&laptop, gateway.port, &["health"]).code, 4);
    let seed: [u8; 32] =
        std::fs::read(laptop.path(".openclaw/barnacle/cli.key")).unwrap().try_into().unwrap();
    assert_eq!(home::mode(&laptop.path(".openclaw/barnacle/cli.key")), 0o600);
    Device::of(seed).attach(&gateway.url(), Some("the-shared-token"), "operator", &["operator.read"]).hello();
    run(&laptop, gateway.port, &["health"]).ok();
    run(&laptop, gateway.port, &["health", "--token", "stale"]).ok();
    // What its device was not approved for, it does not get, and learns how to.
    let refused = run(&laptop, gateway.port, &["devices"]).failed(4);
    assert!(refused.contains("missing scope") && refused.contains("barnacle devices approve"), "{refused}");
}
