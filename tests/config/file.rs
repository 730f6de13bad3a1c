//! `openclaw.json` and the paths to it: what is read, what is refused, and where it says so.

use crate::home::{Home, lines};
use barnacle::internals::config::{AuthMode, Bind, Env, Flags, Paths, RevokeOnRotate, StartError};
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn paths() {
    let profile = "OPENCLAW_PROFILE";
    // variables, state directory, config file
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let rows: &[Row] = &[
        (&[("HOME", "/h")], "/h/.openclaw", "/h/.openclaw/openclaw.json"),
        (&[("HOME", "/h"), ("OPENCLAW_HOME", " ")], "/h/.openclaw", "/h/.openclaw/openclaw.json"),
        (&[("HOME", "/h"), ("OPENCLAW_HOME", "null")], "/h/.openclaw", "/h/.openclaw/openclaw.json"),
        (&[("OPENCLAW_HOME", "/srv/claw")], "/srv/claw/.openclaw", "/srv/claw/.openclaw/openclaw.json"),
        (&[("HOME", "/h"), ("OPENCLAW_HOME", "~/svc")], "/h/svc/.openclaw", "/h/svc/.openclaw/openclaw.json"),
        (&[("HOME", "/h"), ("OPENCLAW_HOME", "~/.openclaw/")], "/h/.openclaw", "/h/.openclaw/openclaw.json"),
        (&[("HOME", "/h"), (profile, "ops")], "/h/.openclaw-ops", "/h/.openclaw-ops/openclaw.json"),
        (&[("HOME", "/h"), (profile, "Default")], "/h/.openclaw", "/h/.openclaw/openclaw.json"),
        (
            &[("HOME", "/h"), (profile, "ops"), ("OPENCLAW_STATE_DIR", "~/s/../t")],
            "/h/t",
            "/h/t/openclaw.json",
        ),
        (&[("HOME", "/h"), ("OPENCLAW_CONFIG_PATH", "~/c.json5")], "/h/.openclaw", "/h/c.json5"),
        (&[("HOME", "/h"), ("OPENCLAW_STATE_DIR", "~x")], "~x", "~x/openclaw.json"),
    ];
    let here = std::env::current_dir().unwrap();
    for (vars, state, config) in rows {
        let paths = Paths::resolve(&vars.iter().copied().collect::<Env>()).unwrap();
        assert_eq!(paths.state_dir, here.join(state), "{vars:?}");
        assert_eq!(paths.config_file, here.join(config), "{vars:?}");
        assert_eq!(paths.barnacle_dir, paths.state_dir.join("barnacle"), "{vars:?}");
    }
}

#[test]
fn paths_that_are_refused() {
    let start = |vars: &[(&str, &str)]| Paths::resolve(&vars.iter().copied().collect()).unwrap_err();
    assert!(start(&[]).to_string().contains("HOME is not set"));
    assert!(matches!(start(&[("OPENCLAW_HOME", "~/x")]), StartError::NoHome));
    for name in ["../x", "a/b", "-a", &"x".repeat(65)] {
        let error = start(&[("HOME", "/h"), ("OPENCLAW_PROFILE", name)]);
        assert!(error.to_string().contains("OPENCLAW_PROFILE"), "{name}");
        assert_eq!(error.exit_code(), 78);
    }
}

#[test]
fn old_file_names_are_reported_and_not_read() {
    let home = Home::new();
    home.write(".clawdbot/clawdbot.json", "{gateway: {port: 1}}");
    let settings =
        home.start(&[("CLAWDBOT_GATEWAY_TOKEN", "old"), ("MOLTBOT_X", "1")], &Flags::default()).unwrap();
    let told = lines(&settings);
    for words in [
        "CLAWDBOT_GATEWAY_TOKEN is set but not read; rename it to OPENCLAW_GATEWAY_TOKEN",
        "MOLTBOT_X",
        ".clawdbot is there",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains(".moltbot is there"));
    assert_eq!(settings.port, 18789);
    assert!(settings.credentials.active.is_none());
}

#[test]
fn json5_in_every_form() {
    let forms = [
        r#"{"gateway":{"mode":"local","port":19000,"auth":{"token":"secret-1"}}}"#,
        "// a\n{gateway: {mode: 'local', /* b */ port: 0x4a38, auth: {token: 'secret-1',},},}\n",
        "\u{feff}{\r\n  \"gateway\": {\r\n    mode: 'local', port: +19000.0,\r\n    auth: {token: \"secret-1\"}\r\n  }\r\n}\r\n",
        "{gateway: {port: 1}, \"gateway\": {mode: 'local', port: 19e3, auth: {mode: 'token', token: 'sec\\\nret-1', password: 'a\\\r\nb\\\\'}}}",
        "{gateway: {mode: 'local', port: 19000, auth: {token: ' secret-1 '}}, unknown: {deep: [1, {x: null}]}, $schema: 3}",
        "{\\u0067atew\\u0061y/* ä\n */: {mode// l'\n: 'local', port/**/:19000, auth: {token/*:*/ : 'secret-1'}}, $schema: 3}",
    ];
    for text in forms {
        let settings = Home::with(text).settings();
        assert_eq!(settings.port, 19000, "{text}");
        assert!(settings.credentials.admits("secret-1"), "{text}");
        assert!(settings.errors.is_empty() && settings.notices.is_empty(), "{text}: {}", lines(&settings));
    }
}

#[test]
fn broken_files_are_reported_by_line_and_never_written() {
    let rows = [
        ("", ":1:1: the file is empty"),
        ("[]", ":1:1: the file does not hold an object"),
        ("{gateway: {port: 1}} {}", ":1:22: "),
        ("{\n  gateway: {port: 1\n  auth: {}}\n}", ":2:20: Expected comma"),
        ("{\n  gateway: {\n    auth: {\n      token: \"sk-hal", ":4:14: "),
        ("{\r\n  gateway: {\r\n    port: nine,\r\n}}", ":3:11: "),
        ("{gateway: {auth: {token: \"sk-a\nb\"}}}", ":1:26: Unterminated string"),
    ];
    for (text, told) in rows {
        let home = Home::with(text);
        let mut settings = home.settings();
        let line = lines(&settings);
        assert!(line.contains(told), "{text:?}: {line}");
        assert!(!line.contains("sk-"), "{text:?}: {line}");
        assert!(!settings.wants_token, "{text:?}");
        assert_eq!((settings.auth, settings.bind), (AuthMode::Token, Bind::Loopback), "{text:?}");
        assert!(settings.credentials.active.is_none() && settings.config.auth.device_key_proof, "{text:?}");
        assert!(!settings.config.nodes.auto_approve_local, "{text:?}");
        settings.make_first_token().unwrap();
        assert_eq!(home.read(), text);
        assert_eq!(fs::read_dir(home.path(".openclaw")).unwrap().count(), 1, "{text:?}");
    }
    let deep = format!("{{a: {}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let long = format!("{{a: [{}]}}", "1,".repeat(4_000_000));
    let wide = format!("{{{}}}", (0..30_000).map(|n| format!("k{n}:1,")).collect::<String>());
    for (text, told) in [(deep, "depth"), (long, "4000002 values"), (wide, "30000 keys")] {
        let line = lines(&Home::with(&text).settings());
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn unreadable_is_not_missing() {
    let home = Home::new();
    fs::create_dir_all(home.config()).unwrap();
    let mut settings = home.settings();
    assert!(lines(&settings).contains("openclaw.json cannot be read"), "{}", lines(&settings));
    assert!(!settings.wants_token);
    settings.make_first_token().unwrap();
    assert!(home.config().is_dir());
    assert!(settings.credentials.active.is_none());
    // A path through a file is no missing file either.
    let home = Home::new();
    home.write(".openclaw", "a file where the state directory should be");
    let settings = home.settings();
    assert!(!settings.wants_token && lines(&settings).contains("cannot be read"), "{}", lines(&settings));
}

#[test]
fn wrong_values_are_ignored_or_fail_closed() {
    let home = Home::with(
        "{
  gateway: {
    mode: 'here',
    port: '18789',
    bind: 'everywhere',
    auth: {
      mode: 'open',
      token: 12345,
      deviceKeyProof: 'no',
      revokeOnRotate: 'all',
      allowTailscale: 1,
      rateLimit: {maxAttempts: 0, windowMs: 5000, exemptLoopback: 'x'},
    },
    trustedProxies: ['10.0.0.0/8', 'proxy', 7],
    controlUi: {allowedOrigins: 'https://a.example', allowInsecureAuth: 'yes'},
    nodes: {pairing: {autoApproveLocal: 0}, commands: {allow: ['a', 1], deny: 'system.run'}},
  },
}",
    );
    let settings = home.settings();
    let config = &settings.config;
    let told: Vec<_> = settings.errors.iter().map(|f| (f.path.as_str(), f.line, f.column)).collect();
    let expected = [
        ("gateway.nodes.commands.deny", 16, 79),
        ("gateway.mode", 3, 11),
        ("gateway.port", 4, 11),
        ("gateway.bind", 5, 11),
    ];
    for fault in expected {
        assert!(told.contains(&fault), "{fault:?} not in {told:?}");
    }
    for key in [
        "auth.mode",
        "auth.token",
        "auth.deviceKeyProof",
        "auth.revokeOnRotate",
        "auth.allowTailscale",
        "auth.rateLimit.maxAttempts",
        "auth.rateLimit.exemptLoopback",
        "trustedProxies",
        "trustedProxies[2]",
        "controlUi.allowedOrigins",
        "controlUi.allowInsecureAuth",
        "nodes.pairing.autoApproveLocal",
    ] {
        assert!(told.iter().any(|(path, ..)| *path == format!("gateway.{key}")), "{key} not in {told:?}");
    }
    assert_eq!(told.len(), 16, "{told:?}");
    let all = lines(&settings);
    assert!(all.contains(r#"gateway.bind is "everywhere", must be one of "loopback", "lan""#), "{all}");
    assert!(!all.contains("12345"), "{all}");
    assert_eq!((settings.port, settings.bind, settings.auth), (18789, Bind::Loopback, AuthMode::Token));
    assert!(settings.credentials.active.is_none() && !settings.wants_token);
    assert!(!config.auth.device_key_proof && !config.auth.allow_tailscale);
    assert_eq!(config.auth.revoke_on_rotate, RevokeOnRotate::Browsers);
    assert_eq!((settings.limits.attempts, settings.limits.window), (10, Duration::from_secs(5)));
    assert!(!settings.limits.gentle_loopback);
    assert!(config.trusts("10.1.2.3".parse().unwrap()) && !config.trusts("11.1.2.3".parse().unwrap()));
    assert!(config.control_ui.allowed_origins.is_empty() && !config.control_ui.allow_insecure_auth);
    assert!(!config.nodes.auto_approve_local && config.nodes.deny.is_none());
}

#[test]
fn a_section_of_the_wrong_type_fails_closed() {
    for text in ["{gateway: {mode: 'local', auth: 'none', nodes: []}}", "{gateway: 'local'}"] {
        let settings = Home::with(text).settings();
        assert_eq!(settings.auth, AuthMode::Token, "{text}");
        assert!(!settings.wants_token && settings.credentials.active.is_none(), "{text}");
        assert!(!settings.config.nodes.auto_approve_local && settings.config.nodes.deny.is_none(), "{text}");
        assert!(lines(&settings).contains("must be an object"), "{text}");
    }
}

#[test]
fn defaults_are_openclaws() {
    let settings = Home::with("{gateway: {mode: 'local', auth: {token: 't'}}}").settings();
    let (config, auth) = (&settings.config, &settings.config.auth);
    assert_eq!((settings.port, settings.bind, settings.auth), (18789, Bind::Loopback, AuthMode::Token));
    assert_eq!(settings.handshake_timeout, Duration::from_secs(15));
    assert!(auth.device_key_proof && !auth.allow_tailscale && auth.rate_limit.gentle_loopback);
    assert_eq!(auth.revoke_on_rotate, RevokeOnRotate::Nothing);
    assert_eq!((auth.rate_limit.attempts, auth.rate_limit.lockout), (10, Duration::from_secs(300)));
    assert!(config.nodes.auto_approve_local && !config.trusts("127.0.0.1".parse().unwrap()));
    assert_eq!(config.nodes.deny.as_deref(), Some(&[][..]));
    let serve =
        Home::with("{gateway: {mode: 'local', tailscale: {mode: 'serve'}, auth: {token: 't'}}}").settings();
    assert!(serve.config.auth.allow_tailscale);
}

#[test]
fn addresses_and_ranges() {
    let home = Home::with(
        "{gateway: {mode: 'local', auth: {token: 't'}, trustedProxies: ['192.0.2.1', 'fd00::/8', '0.0.0.0/0']}}",
    );
    let rows = [("192.0.2.1", true), ("::ffff:192.0.2.1", true), ("fd12::1", true), ("fe80::1", false)];
    let config = home.settings().config;
    for (address, trusted) in rows {
        assert_eq!(config.trusts(address.parse().unwrap()), trusted, "{address}");
    }
}

#[test]
fn bind_words() {
    let rows = [
        ("'loopback'", "", "loopback"),
        ("'lan'", "", "lan"),
        ("'tailnet'", "", "tailnet"),
        ("'auto'", "", "auto"),
        ("'custom'", "192.0.2.7", "192.0.2.7"),
        ("'custom'", "", "loopback"),
        ("'custom'", "here", "loopback"),
        ("'192.0.2.8'", "", "192.0.2.8"),
        ("'::1'", "", "loopback"),
        ("'127.0.0.1'", "", "loopback"),
        ("'LAN'", "", "lan"),
        ("'localhost'", "", "loopback"),
        ("'everywhere'", "", "loopback"),
        ("true", "", "loopback"),
    ];
    for (bind, host, expected) in rows {
        let text = format!(
            "{{gateway: {{mode: 'local', bind: {bind}, customBindHost: '{host}', auth: {{token: 't'}}}}}}"
        );
        let settings = Home::with(&text).settings();
        assert_eq!(settings.bind.to_string(), expected, "{text}");
        let fell =
            expected == "loopback" && !matches!(bind, "'loopback'" | "'localhost'" | "'::1'" | "'127.0.0.1'");
        assert_eq!(settings.errors.iter().any(|f| f.path == "gateway.bind"), fell, "{text}");
    }
    let home = Home::with("{gateway: {mode: 'local', customBindHost: '192.0.2.7', auth: {token: 't'}}}");
    let flag = |word: &str| home.start(&[], &Flags { bind: Some(word.into()), ..Flags::default() });
    assert_eq!(flag("custom").unwrap().bind.to_string(), "192.0.2.7");
    assert!(matches!(flag("everywhere"), Err(StartError::BadBind(_))));
}

#[test]
fn binding_beyond_loopback_needs_auth() {
    let rows = [
        ("mode: 'none'", false, r#"mode is "none""#),
        ("mode: 'token', token: '${NOT_SET}'", false, "there is no shared token"),
        ("mode: 'password'", false, "there is no shared password"),
        ("mode: 'trusted-proxy'", false, "no proxy is trusted"),
        ("mode: 'token', token: 't'", true, ""),
        ("mode: 'password', password: 'p'", true, ""),
        ("mode: 'token'", true, ""), // a first token will be made
    ];
    for (auth, open, told) in rows {
        let settings =
            Home::with(&format!("{{gateway: {{mode: 'local', bind: 'lan', auth: {{{auth}}}}}}}")).settings();
        assert_eq!(settings.bind == Bind::Lan, open, "{auth}");
        let all = lines(&settings);
        assert_eq!(all.contains("listening on loopback instead of lan"), !open, "{auth}: {all}");
        assert!(all.contains(told), "{auth}: {all}");
    }
}

#[test]
fn unusable_settings_are_reported() {
    let rows = [
        ("auth: {mode: 'password'}", "set gateway.auth.password in"),
        ("tls: {enabled: true, autoGenerate: false}", "gateway.tls.autoGenerate is false"),
    ];
    for (keys, expected) in rows {
        let said = lines(&Home::with(&format!("{{gateway: {{mode: 'local', {keys}}}}}")).settings());
        assert!(said.contains(expected), "{keys}: {said}");
    }
    let said = lines(&Home::with("{gateway: {mode: 'local', tls: {enabled: false}}}").settings());
    assert_eq!(said, "");
}

#[test]
fn the_guard_of_gateway_mode() {
    let allow = Flags { allow_unconfigured: true, ..Flags::default() };
    let unset = Home::with("{gateway: {auth: {token: 't'}}}");
    assert!(lines(&unset.settings()).contains("gateway.mode is not set"));
    assert_eq!(lines(&unset.start(&[], &allow).unwrap()), "");
    let remote = Home::with("{gateway: {mode: 'remote', remote: {url: 'ws://far:1'}, auth: {token: 't'}}}");
    let error = remote.start(&[], &Flags::default()).err().unwrap();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("--allow-unconfigured"), "{error}");
    let settings = remote.start(&[], &allow).unwrap();
    assert!(lines(&settings).contains("gateway.mode is \"remote\""));
    assert_eq!(settings.config.remote.url.as_deref(), Some("ws://far:1"));
}

#[test]
fn numbers_in_environment_variables() {
    let home =
        Home::with("{gateway: {mode: 'local', port: 19000, handshakeTimeoutMs: 20000, auth: {token: 't'}}}");
    // OPENCLAW_GATEWAY_PORT, OPENCLAW_HANDSHAKE_TIMEOUT_MS, --port; port, seconds, notices
    let rows = [
        ("", "", None, 19000, 20, 0),
        ("19001", "30000", None, 19001, 30, 0),
        ("127.0.0.1:19002", "", None, 19002, 20, 0),
        ("[::1]:19003", "", None, 19003, 20, 0),
        ("19001", "", Some(19004), 19004, 20, 0),
        ("0", "0", None, 19000, 20, 2),
        ("many", "-1", None, 19000, 20, 2),
    ];
    for (port, timeout, flag, expected, seconds, notices) in rows {
        let vars = [("OPENCLAW_GATEWAY_PORT", port), ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", timeout)];
        let settings = home.start(&vars, &Flags { port: flag, ..Flags::default() }).unwrap();
        assert_eq!(settings.port, expected, "{vars:?}");
        assert_eq!(settings.handshake_timeout, Duration::from_secs(seconds), "{vars:?}");
        assert_eq!(settings.notices.len(), notices, "{vars:?}: {}", lines(&settings));
    }
}

#[test]
fn a_config_path_in_dotenv_is_followed() {
    let home = Home::new();
    home.write(".openclaw/.env", "OPENCLAW_CONFIG_PATH=~/elsewhere.json\n");
    home.write("elsewhere.json", "{gateway: {mode: 'local', port: 19009, auth: {token: 't'}}}");
    let settings = home.settings();
    assert_eq!(settings.port, 19009);
    assert_eq!(settings.paths.config_file, home.path("elsewhere.json"));
    assert!(settings.paths.config_file.starts_with(Path::new("/")));
}

/// As the real CLI of 2026.9.6 prints them.
#[test]
fn a_named_profile_has_a_port_of_its_own() {
    for (name, port) in [("foo", 47223), ("work", 41984), ("default", 18789), ("", 18789)] {
        let home = Home::new();
        let settings = home.start(&[("OPENCLAW_PROFILE", name)], &Flags::default()).unwrap();
        assert_eq!(settings.port, port, "{name}");
    }
}
