//! The shared secret: its sources, conflicts between them, and how the first is made.

use crate::home::{Home, lines, mode};
use barnacle::internals::config::settings::first_run::NotStored;
use barnacle::internals::config::{AuthMode, Flags, Kind, Refused, Secret, Settings, Source};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";

fn active(settings: &Settings) -> String {
    settings.credentials.active.as_ref().map(|(_, source)| source.to_string()).unwrap_or_default()
}

#[test]
fn precedence_of_sources() {
    let home =
        Home::with("{gateway: {mode: 'local', auth: {token: 'of-file'}, remote: {token: 'of-remote'}}}");
    home.write(".openclaw/.env", &format!("{TOKEN}=of-dotenv"));
    let unit = home.write(
        ".config/systemd/user/openclaw-gateway.service",
        &format!("[Service]\nEnvironment=PATH=/bin \"{TOKEN}=of-unit\" \\\n  A=b\nExecStart=/bin/true\n"),
    );
    home.write(".config/systemd/user/unrelated.service", &format!("Environment={TOKEN}=of-another"));
    let drop_in = home.write(
        ".config/systemd/user/barnacle.service.d/10-token.conf",
        &format!("[Service]\n# Environment={TOKEN}=of-comment\nEnvironment='{TOKEN}=of-drop-in'\n"),
    );
    let file = home.write("token", "of-token-file\n");
    let mut flags = Flags { token: Secret::new("of-flag"), token_file: Some(file), ..Flags::default() };
    let mut vars = vec![(TOKEN, "of-env")];
    let order = ["of-flag", "of-token-file", "of-env", "of-dotenv", "of-file"];
    let all = [&order[..], &["of-remote", "of-unit", "of-drop-in"]].concat();
    let names = [
        "--token on the command line",
        "the token file ",
        "the environment variable OPENCLAW_GATEWAY_TOKEN",
        "OPENCLAW_GATEWAY_TOKEN in ",
        "gateway.auth.token in ",
    ];
    for (rank, winner) in order.into_iter().enumerate() {
        let settings = home.start(&vars, &flags).unwrap();
        for token in &all {
            assert_eq!(settings.credentials.admits(token), *token == winner, "{winner}: {token}");
        }
        assert!(active(&settings).starts_with(names[rank]), "{winner}: {}", active(&settings));
        assert_eq!(settings.credentials.conflicts().count(), all.len() - 1 - rank, "{winner}");
        let message = lines(&settings);
        assert!(
            message.contains(&format!("{}", unit.display()))
                && message.contains(&format!("{}", drop_in.display()))
        );
        assert!(!all.iter().any(|token| message.contains(token)), "a token was told: {message}");
        // Take the winner away for the next round.
        match rank {
            0 => flags.token = None,
            1 => flags.token_file = None,
            2 => vars.clear(),
            _ => home.write(".openclaw/.env", "").exists().then_some(()).unwrap(),
        }
    }
}

#[test]
fn a_bad_token_is_reported_with_its_source() {
    let home =
        Home::with("{gateway: {mode: 'local', auth: {token: 'of-file'}, remote: {token: 'of-remote'}}}");
    home.write(".config/systemd/user/openclaw-gateway-ops.service", &format!("Environment={TOKEN}=of-env\n"));
    let settings = home.start(&[(TOKEN, "of-env")], &Flags::default()).unwrap();
    let elsewhere = |token| settings.credentials.elsewhere(token);
    let (source, fix) = elsewhere("of-file").unwrap();
    assert_eq!(source, format!("gateway.auth.token in {}", home.config().display()));
    assert!(
        fix.contains("unset OPENCLAW_GATEWAY_TOKEN") && fix.contains("openclaw-gateway-ops.service"),
        "{fix}"
    );
    assert!(elsewhere("of-remote").unwrap().0.starts_with("gateway.remote.token in "));
    assert!(elsewhere("of-nowhere").is_none());
    // The environment's own value stands in the unit too: no conflict.
    assert_eq!(settings.credentials.conflicts().count(), 2);
}

#[test]
fn a_refusal_names_a_file_that_changed() {
    let home = Home::with("{gateway: {mode: 'local', auth: {token: 'first'}}}");
    let credentials = home.settings().credentials;
    assert!(credentials.loaded_ms > 1_700_000_000_000);
    home.write(".openclaw/openclaw.json", "{gateway: {mode: 'local', auth: {token: 'second'}}}");
    assert!(credentials.elsewhere("second").is_none(), "it was not there at start");
    let holder = credentials.search.holder("second").unwrap();
    assert_eq!(holder, Source::ConfigFile(Kind::Token, home.config()));
    assert!(credentials.fix(&holder).contains("changed after this gateway read it"));
    assert!(credentials.search.holder("third").is_none());
    home.write(".openclaw/openclaw.json", "{gateway: {mode: 'local', auth: {token: 'sec");
    assert!(credentials.search.holder("second").is_none());
    home.write(".openclaw/.env", &format!("{TOKEN}=fourth"));
    assert!(matches!(credentials.search.holder("fourth"), Some(Source::DotEnv(..))));
}

#[test]
fn auth_modes() {
    let password = || Secret::new("p");
    let token = || Secret::new("t");
    let set = |flags: Flags| flags;
    // file, flags, mode, whether a credential is in force
    let rows = [
        ("", set(Flags::default()), AuthMode::Token, false),
        ("password: 'p'", Flags::default(), AuthMode::Password, true),
        ("password: 'p', token: 't'", Flags::default(), AuthMode::Password, true),
        ("password: 'p', token: 't', mode: 'token'", Flags::default(), AuthMode::Token, true),
        ("password: 'p'", Flags { token: token(), ..Flags::default() }, AuthMode::Token, true),
        ("token: 't'", Flags { password: password(), ..Flags::default() }, AuthMode::Password, true),
        ("token: 't'", Flags { auth: Some(AuthMode::None), ..Flags::default() }, AuthMode::None, false),
        ("mode: 'none', token: 't'", Flags::default(), AuthMode::None, false),
        ("mode: 'password', token: 't'", Flags::default(), AuthMode::Password, false),
    ];
    for (auth, flags, expected, in_force) in rows {
        let settings = Home::with(&format!("{{gateway: {{mode: 'local', auth: {{{auth}}}}}}}"))
            .start(&[], &flags)
            .unwrap();
        assert_eq!(settings.auth, expected, "{auth}");
        assert_eq!(settings.credentials.active.is_some(), in_force, "{auth}");
    }
    let home = Home::with("{gateway: {mode: 'local'}}");
    let settings = home.start(&[("OPENCLAW_GATEWAY_PASSWORD", "p")], &Flags::default()).unwrap();
    assert_eq!(settings.auth, AuthMode::Password);
    assert!(settings.credentials.admits("p") && !settings.wants_token);
}

#[test]
fn references() {
    let home = Home::new();
    home.write(".openclaw/.env", "export IN_DOTENV=\"from dotenv\" # why\nIN_ENV=overridden\nBLANK=\n");
    let key = |name: &str, text: &str, mode: u32| {
        let path = home.write(name, text);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    key("keys.json", "{gateway: {'to/ken': 'from json', n: 1}}", 0o600);
    key("one.txt", "from text\n", 0o600);
    key("open.txt", "from text\n", 0o644);
    symlink(home.path("one.txt"), home.path("link.txt")).unwrap();
    let rows = [
        ("'${IN_ENV}'", Ok("from env")),
        ("'$IN_ENV'", Ok("from env")),
        ("'${IN_DOTENV}'", Ok("from dotenv")),
        ("'a-${IN_ENV}-b'", Ok("a-from env-b")),
        ("'$${IN_ENV}'", Ok("${IN_ENV}")),
        ("'${lower} ${'", Ok("${lower} ${")),
        ("'${NOT_SET}'", Err("the variable NOT_SET is set neither")),
        ("'${BLANK}'", Err("the variable BLANK")),
        ("{source: 'env', provider: 'default', id: 'IN_ENV'}", Ok("from env")),
        ("{source: 'env', id: 'NOT_SET'}", Err("NOT_SET")),
        ("{source: 'env', provider: 'few', id: 'IN_ENV'}", Err("does not list IN_ENV")),
        ("{source: 'file', provider: 'json', id: '/gateway/to~1ken'}", Ok("from json")),
        ("{source: 'file', provider: 'json', id: '/gateway/none'}", Err("holds no /gateway/none")),
        ("{source: 'file', provider: 'json', id: '/gateway/n'}", Err("is a number, not a string")),
        ("{source: 'file', provider: 'one', id: 'value'}", Ok("from text")),
        ("{source: 'file', provider: 'open', id: 'value'}", Err("chmod 600")),
        ("{source: 'file', provider: 'link', id: 'value'}", Err("plain file")),
        ("{source: 'file', provider: 'nobody', id: 'value'}", Err("secrets.providers.nobody has no path")),
        (
            "{source: 'fil', provider: 'json', id: '/x'}",
            Err("its source is \"fil\", must be \"env\" or \"file\""),
        ),
        ("{source: 'exec', provider: 'vault', id: 'x'}", Err("\"exec\" are not read")),
        ("{id: 'x'}", Err(":1:56: gateway.auth.token lets no one in: a reference must be {source: ")),
    ];
    for (value, expected) in rows {
        home.write(
            ".openclaw/openclaw.json",
            &format!(
                "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: {value}}}}}, secrets: {{providers: {{
                    few: {{source: 'env', allowlist: ['OTHER']}}, json: {{source: 'file', path: '~/keys.json'}},
                    one: {{source: 'file', path: '~/one.txt', mode: 'singleValue'}},
                    open: {{source: 'file', path: '~/open.txt', mode: 'singleValue'}},
                    link: {{source: 'file', path: '~/link.txt', mode: 'singleValue'}}}}}}}}"
            ),
        );
        let before = home.read();
        let mut settings = home.start(&[("IN_ENV", "from env")], &Flags::default()).unwrap();
        assert!(!settings.wants_token, "{value}");
        match expected {
            Ok(token) => assert!(settings.credentials.admits(token), "{value}: {}", lines(&settings)),
            Err(why) => {
                assert!(settings.credentials.active.is_none(), "{value}");
                let message = lines(&settings);
                assert!(
                    message.contains("gateway.auth.token lets no one in") && message.contains(why),
                    "{value}: {message}"
                );
            }
        }
        settings.make_first_token().unwrap();
        assert_eq!(home.read(), before, "{value}");
    }
}

#[test]
fn dotenv_as_node_reads_it() {
    let rows = [
        ("T=plain", "plain"),
        ("  export T = spaced  ", "spaced"),
        ("T: colon", "colon"),
        ("T=cut # here", "cut"),
        ("T=cut#here", "cut"),
        ("T='kept # here'", "kept # here"),
        ("T=\"two\\nlines\"", "two\nlines"),
        ("T='not\\nexpanded'", "not\\nexpanded"),
        ("T=\"over\nlines\"\nU=x", "over\nlines"),
        ("T=`tick`", "tick"),
        ("T=\"open", "\"open"),
        ("T=first\r\nT=second\r\n", "second"),
        ("\u{feff}T=after-mark", "after-mark"),
        ("#T=no\nnonsense\nT=yes", "yes"),
        ("T=${HOME}/x", "${HOME}/x"),
    ];
    for (text, expected) in rows {
        let home = Home::with("{gateway: {mode: 'local'}}");
        home.write(".openclaw/.env", &text.replace('T', TOKEN));
        let settings = home.settings();
        assert!(settings.credentials.admits(expected), "{text:?}: {:?}", settings.credentials.active);
    }
}

#[test]
fn the_first_token() {
    let home = Home::new();
    let mut settings = home.settings();
    assert!(settings.wants_token && !home.config().exists(), "resolving writes nothing");
    settings.make_first_token().unwrap();
    assert!(lines(&settings).contains(&format!(
        "no shared token was set; a random one is now gateway.auth.token in {}",
        home.config().display()
    )));
    assert_eq!((mode(&home.config()), mode(&home.path(".openclaw"))), (0o600, 0o700));
    let token = settings.credentials.active.as_ref().unwrap().0.reveal().unwrap().to_owned();
    assert_eq!(token.len(), 43);
    // The next start finds it, and has nothing to say.
    let mut next = home.settings();
    assert!(next.credentials.admits(&token) && !next.wants_token);
    assert_eq!(lines(&next), "");
    let text = home.read();
    next.make_first_token().unwrap();
    assert_eq!(home.read(), text);
}

#[test]
fn the_first_token_leaves_the_rest_of_the_file_alone() {
    let rows = [
        "// mine\n{\n  // the port\n  gateway: {\n    mode: 'local', // here\n    port: 19000,\n  },\n  channels: {whatsapp: {ackReaction: {emoji: '👀'}}}, // keep\n}\n",
        "{\n\t\"gateway\": {\n\t\t\"mode\": \"local\",\n\t\t\"auth\": {\n\t\t\t\"mode\": \"token\"\n\t\t}\n\t}\n}",
        "\u{feff}{\r\n  gateway: {auth: {token: ''}}, // blank\r\n  z: 1\r\n}\r\n",
        "{}",
        "{ gateway: null, keep: [1,2 , 3] }",
    ];
    for text in rows {
        let home = Home::with(text);
        fs::set_permissions(home.config(), Permissions::from_mode(0o644)).unwrap();
        let mut settings = home.settings();
        settings.make_first_token().unwrap();
        let token = settings.credentials.active.as_ref().unwrap().0.reveal().unwrap().to_owned();
        let after = home.read();
        assert!(home.settings().credentials.admits(&token), "{after}");
        assert_eq!(mode(&home.config()), 0o600);
        for kept in [
            "// mine",
            "// the port",
            "// here",
            "// keep",
            "// blank",
            "👀",
            "[1,2 , 3]",
            "\u{feff}",
            "\t\t\t\"mode\": \"token\"",
        ] {
            assert_eq!(text.contains(kept), after.contains(kept), "{kept}: {after}");
        }
        assert_eq!(text.contains("\r\n"), after.contains("\r\n"), "{after:?}");
        assert!(
            !after.replace("\r\n", "").contains('\r')
                && (!text.contains("\r\n") || !after.replace("\r\n", "").contains('\n')),
            "{after:?}"
        );
    }
}

#[test]
fn the_first_token_where_it_cannot_be_stored() {
    let empty = "{gateway: {mode: 'local'}}";
    let attempt = |home: &Home, vars: &[(&str, &str)]| {
        let flags = Flags { bind: Some("lan".into()), ..Flags::default() };
        let mut settings = home.start(vars, &flags).unwrap();
        assert!(settings.wants_token);
        let error = settings.make_first_token().unwrap_err();
        assert!(settings.credentials.active.is_none());
        assert!(settings.bind.is_loopback(), "no credential: loopback only");
        assert!(lines(&settings).contains(&error.to_string()));
        assert_eq!(home.read(), empty);
        error
    };
    let home = Home::with(empty);
    let why = attempt(&home, &[("OPENCLAW_CONFIG_READONLY", "1")]);
    assert!(matches!(why, NotStored::Refused(Refused::ManagedElsewhere(_))));
    fs::set_permissions(home.config(), Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(attempt(&home, &[]), NotStored::Refused(Refused::ReadOnly { mode: 0o444, .. })));

    // Broken between reading and writing: the file that is there counts.
    let home = Home::with(empty);
    let mut settings = home.settings();
    home.write(".openclaw/openclaw.json", "{gateway: {mode");
    assert!(matches!(settings.make_first_token(), Err(NotStored::Refused(Refused::Broken(_)))));
    assert_eq!(home.read(), "{gateway: {mode");

    // Set by someone else between reading and writing: theirs rules.
    let theirs = "{gateway: {mode: 'local', auth: {token: 'theirs'}}}";
    let home = Home::with(empty);
    let mut settings = home.settings();
    home.write(".openclaw/openclaw.json", theirs);
    settings.make_first_token().unwrap();
    assert!(settings.credentials.admits("theirs"));
    assert_eq!(home.read(), theirs);

    // Two objects of one name: the later is the one that counts.
    let home = Home::with("{gateway: {}, gateway: {mode: 'local'}}");
    home.settings().make_first_token().unwrap();
    assert!(
        home.read().starts_with("{gateway: {}, gateway: {mode: 'local', auth: {token: '"),
        "{}",
        home.read()
    );

    // Not UTF-8 in a comment: read, but not to be written back.
    let home = Home::with("");
    let latin = b"{gateway: {mode: 'local'}} // caf\xe9";
    fs::write(home.config(), latin).unwrap();
    assert!(matches!(home.settings().make_first_token(), Err(NotStored::Refused(Refused::NotText(_)))));
    assert_eq!(fs::read(home.config()).unwrap(), latin);

    // What a file that is not there would bring is unknown.
    let home = Home::with("{gateway: {mode: 'local', auth: {$include: './auth.json5'}}}");
    let settings = home.settings();
    assert!(!settings.wants_token && lines(&settings).contains("auth.json5"), "{}", lines(&settings));
    assert_eq!(settings.auth, AuthMode::Token);
    assert!(home.start(&[(TOKEN, "t")], &Flags::default()).unwrap().credentials.admits("t"));
}

#[test]
fn the_first_token_follows_a_link() {
    let home = Home::new();
    let real = home.write("dotfiles/openclaw.json", "{gateway: {mode: 'local'}}");
    fs::create_dir_all(home.path(".openclaw")).unwrap();
    symlink(&real, home.config()).unwrap();
    home.settings().make_first_token().unwrap();
    assert!(home.config().is_symlink() && fs::read_to_string(&real).unwrap().contains("token"));
    // Where it leads may not be mounted yet.
    fs::remove_file(&real).unwrap();
    let settings = home.settings();
    assert!(
        !settings.wants_token && lines(&settings).contains("dotfiles/openclaw.json, which is not there"),
        "{}",
        lines(&settings)
    );
}

fn pipe(home: &Home, name: &str) -> PathBuf {
    let path = home.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn a_dotenv_that_is_a_pipe_does_not_block() {
    let home = Home::with("{gateway: {mode: 'local', auth: {token: '${T}'}}}");
    pipe(&home, ".openclaw/.env");
    let message = lines(&home.settings());
    assert!(
        message.contains(".env cannot be read (it is no regular file); its variables count as unset"),
        "{message}"
    );
}

#[test]
fn gateway_env_comes_after_dotenv() {
    let home = Home::with("{gateway: {mode: 'local', auth: {token: '${A}-${B}'}}}");
    home.write(".config/openclaw/gateway.env", &format!("A=1\nB=2\n{TOKEN}=of-gateway-env\n"));
    home.write(".openclaw/.env", "A=3");
    let settings = home.settings();
    assert!(settings.credentials.admits("of-gateway-env"));
    assert!(active(&settings).ends_with(".config/openclaw/gateway.env"), "{}", active(&settings));
    assert_eq!(settings.config.auth.token.given().unwrap().reveal(), Some("3-2"));
    assert!(settings.files.iter().any(|f| f.ends_with("gateway.env")));
    // It is of the default state directory only.
    let vars = [("OPENCLAW_PROFILE", "x")];
    home.write(".openclaw-x/openclaw.json", "{gateway: {mode: 'local', auth: {token: 't'}}}");
    assert!(home.start(&vars, &Flags::default()).unwrap().credentials.admits("t"));
}

#[test]
fn a_missing_token_file_prevents_the_start() {
    let home = Home::with("{gateway: {mode: 'local', auth: {token: 't'}}}");
    // What can be read once only would be empty at the next look.
    for file in [home.path("none"), home.write("blank", " \n"), pipe(&home, "pipe")] {
        let error = home.start(&[], &Flags { token_file: Some(file), ..Flags::default() }).err().unwrap();
        assert!(error.to_string().starts_with("--token-file "), "{error}");
        assert_eq!(error.exit_code(), 78);
    }
}

#[test]
fn debug_output_hides_secrets() {
    let secret = Secret::new(" hush-hush ").unwrap();
    assert!(secret.matches("hush-hush") && !secret.matches("hush-hush ") && !secret.matches(""));
    for shown in [format!("{secret}"), format!("{secret:?}"), format!("{:?}", Some((&secret, 1)))] {
        assert!(!shown.contains("hush") && shown.contains(&secret.fingerprint()), "{shown}");
    }
    for blank in ["", " ", "undefined", "null"] {
        assert_eq!(Secret::new(blank), None, "{blank:?}");
    }
}
