//! Tables of what the policy gives and takes.

use super::*;

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn allow(items: &[&str]) -> Rules {
    Rules { allow: Some(list(items)), ..Rules::default() }
}

fn deny(items: &[&str]) -> Rules {
    Rules { deny: list(items), ..Rules::default() }
}

fn with(profile: Profile, also: &[&str]) -> Rules {
    Rules { profile: Some(profile), also_allow: list(also), ..Rules::default() }
}

fn of(rules: Rules) -> Scoped {
    Scoped { rules, by_provider: Vec::new() }
}

fn for_model(name: &str, rules: Rules) -> Scoped {
    Scoped { rules: Rules::default(), by_provider: vec![(name.into(), rules)] }
}

#[test]
fn patterns() {
    let rows = [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*c", "ab", false),
        ("*b*", "abc", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "acb", false),
        ("ab*ab", "ab", false),
        ("**", "x", true),
        ("", "", true),
        ("", "a", false),
    ];
    for (pattern, text, expected) in rows {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn what_a_list_names() {
    let rows: [(&[&str], &str, bool); 17] = [
        (&["message"], "message", true),
        (&[" Message "], "message", true),
        (&["SESSIONS_*"], "sessions_list", true),
        (&["session*"], "message", false),
        (&["group:sessions"], "sessions_history", true),
        (&["group:Sessions"], "session_status", true),
        (&["group:sessions"], "agents_list", false),
        (&["group:openclaw"], "gateway", true),
        (&["group:openclaw"], "exec", false),
        (&["group:openclaw"], "invented", false),
        (&["group:plugins"], "message", false),
        (&["group:nothing"], "message", false),
        (&["bash"], "exec", true),
        (&["automations"], "cron", true),
        (&["group:automation"], "automations", true),
        (&["*"], "message", true),
        (&[], "message", false),
    ];
    for (entries, name, expected) in rows {
        assert_eq!(names(entries, Named::own(name)), expected, "{entries:?} {name}");
    }
    let mcp = Named { name: "outlook__send_mail", plugin: Some("bundle-mcp") };
    for entry in ["bundle-mcp", "group:plugins", "outlook__*", "*"] {
        assert!(names(&[entry], mcp), "{entry}");
    }
    assert!(!names(&["group:openclaw"], mcp));
}

#[test]
fn each_step_takes_and_none_gives_back() {
    use Profile::*;
    use Step::{Agent, Global, Provider, ProviderProfile};
    let none = Scoped::default;
    type Row = (&'static str, Scoped, Scoped, &'static str, Result<(), Step>);
    let rows: [Row; 26] = [
        ("nothing set", none(), none(), "gateway", Ok(())),
        ("full", of(with(Full, &[])), none(), "gateway", Ok(())),
        ("minimal", of(with(Minimal, &[])), none(), "session_status", Ok(())),
        ("minimal", of(with(Minimal, &[])), none(), "message", Err(Step::Profile(Minimal))),
        (
            "limited profiles have no gateway",
            of(with(Coding, &[])),
            none(),
            "gateway",
            Err(Step::Profile(Coding)),
        ),
        ("added", of(with(Coding, &["gateway"])), none(), "gateway", Ok(())),
        ("messaging", of(with(Messaging, &[])), none(), "message", Ok(())),
        ("messaging", of(with(Messaging, &[])), none(), "nodes", Err(Step::Profile(Messaging))),
        ("the agent's profile counts", of(with(Minimal, &[])), of(with(Full, &[])), "nodes", Ok(())),
        (
            "the agent's profile counts",
            of(with(Full, &[])),
            of(with(Minimal, &[])),
            "nodes",
            Err(Step::Profile(Minimal)),
        ),
        (
            "added for one agent",
            of(with(Minimal, &[])),
            of(Rules { also_allow: list(&["nodes"]), ..Rules::default() }),
            "nodes",
            Ok(()),
        ),
        ("allowed alone", of(allow(&["message"])), none(), "message", Ok(())),
        ("allowed alone", of(allow(&["message"])), none(), "nodes", Err(Global)),
        ("nothing readable allowed", of(allow(&[])), none(), "message", Err(Global)),
        ("denied", of(deny(&["message"])), none(), "message", Err(Global)),
        (
            "denied wins",
            of(Rules { deny: list(&["group:messaging"]), ..allow(&["*"]) }),
            none(),
            "message",
            Err(Global),
        ),
        (
            "the agent gives nothing back",
            of(deny(&["message"])),
            of(allow(&["message"])),
            "message",
            Err(Global),
        ),
        ("the agent takes", none(), of(deny(&["mess*"])), "message", Err(Agent)),
        ("the agent allows alone", none(), of(allow(&["nodes"])), "message", Err(Agent)),
        (
            "allow does not widen a profile",
            of(Rules { allow: Some(list(&["nodes"])), ..with(Minimal, &[]) }),
            none(),
            "nodes",
            Err(Step::Profile(Minimal)),
        ),
        (
            "provider's profile",
            for_model("openai", with(Minimal, &[])),
            none(),
            "message",
            Err(ProviderProfile(Minimal)),
        ),
        (
            "provider's profile, added",
            for_model("openai", with(Minimal, &["message"])),
            none(),
            "message",
            Ok(()),
        ),
        ("provider takes", for_model("openai", deny(&["message"])), none(), "message", Err(Provider)),
        ("another provider", for_model("other", deny(&["message"])), none(), "message", Ok(())),
        ("one model", for_model("openai/gpt-5", allow(&["nodes"])), none(), "message", Err(Provider)),
        (
            "the agent for a model",
            none(),
            for_model("openai", deny(&["*"])),
            "message",
            Err(Step::AgentProvider),
        ),
    ];
    for (what, all, own, name, expected) in rows {
        let tools = Tools { all, agents: vec![("main".into(), own)], ..Tools::default() };
        let facts = Facts::plain(&tools, "main", Some("OpenAI/gpt-5"));
        assert_eq!(judge(&facts, Named::own(name)), expected, "{what}");
    }
}

#[test]
fn a_model_of_its_own_rules_is_not_judged_by_its_providers() {
    let mut all = for_model("openai", deny(&["message"]));
    all.by_provider.push(("openai/gpt-5".into(), Rules::default()));
    let tools = Tools { all, ..Tools::default() };
    let judged = |model| judge(&Facts::plain(&tools, "main", model), Named::own("message"));
    assert_eq!(judged(Some("openai/gpt-5")), Ok(()));
    assert_eq!(judged(Some("openai/gpt-4")), Err(Step::Provider));
    assert_eq!(judged(None), Ok(()));
}

#[test]
fn groups_sandboxes_and_subagents_take_last() {
    let tools =
        Tools { all: of(Rules { also_allow: list(&["message"]), ..Rules::default() }), ..Tools::default() };
    let plain = Facts::plain(&tools, "main", None);
    let (no_message, only_message) = (deny(&["message"]), allow(&["message"]));
    let rows = [
        (Facts { group: Some(&no_message), ..plain }, "message", Err(Step::Group)),
        (Facts { sandbox: Some(&only_message), ..plain }, "nodes", Err(Step::Sandbox)),
        (Facts { sandbox: Some(&only_message), ..plain }, "message", Ok(())),
        (Facts { nesting: Nesting::Subagent, ..plain }, "message", Err(Step::Subagent)),
        (Facts { nesting: Nesting::Subagent, ..plain }, "sessions_list", Ok(())),
        (Facts { nesting: Nesting::Leaf, ..plain }, "sessions_list", Err(Step::Subagent)),
        (Facts { nesting: Nesting::Subagent, ..plain }, "conversations_send", Err(Step::Subagent)),
        (
            Facts { nesting: Nesting::Subagent, subagents: Some(&only_message), ..plain },
            "nodes",
            Err(Step::Subagent),
        ),
        (Facts { subagents: Some(&only_message), ..plain }, "nodes", Ok(())),
    ];
    for (n, (facts, name, expected)) in rows.into_iter().enumerate() {
        assert_eq!(judge(&facts, Named::own(name)), expected, "row {n}");
    }
}

#[test]
fn writing_files_includes_patching_them() {
    let tools = Tools { all: of(allow(&["write"])), ..Tools::default() };
    assert_eq!(judge(&Facts::plain(&tools, "main", None), Named::own("apply_patch")), Ok(()));
    let tools = Tools { all: of(deny(&["write"])), ..Tools::default() };
    assert_eq!(judge(&Facts::plain(&tools, "main", None), Named::own("apply_patch")), Ok(()));
}

#[test]
fn http_has_less() {
    type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a str, bool, bool);
    let rows: [Row<'_>; 11] = [
        (&[], &[], "sessions_list", true, true),
        (&[], &[], "gateway", true, false),
        (&["gateway"], &[], "gateway", true, true),
        (&["Group:automation"], &[], "gateway", true, true),
        // A way in for owners, and for nobody else.
        (&["gateway"], &[], "gateway", false, false),
        (&["sessions_send"], &[], "sessions_send", false, false),
        (&["exec"], &[], "bash", true, true),
        (&[], &[], "bash", true, false),
        (&[], &["message"], "message", true, false),
        (&["message"], &["message"], "message", true, false),
        (&[], &["*"], "sessions_list", true, false),
    ];
    for (allowed, denied, name, owner, expected) in rows {
        let tools = Tools { http_allow: list(allowed), http_deny: list(denied), ..Tools::default() };
        assert_eq!(is_for_http(&tools, Named::own(name), owner), expected, "{allowed:?} {denied:?} {name}");
    }
}
