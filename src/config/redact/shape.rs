//! Detection of secrets by the shape of names and values.

/// Parts of a name that speak of one, without their separators and in small letters.
const PARTS: [&str; 28] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "credential",
    "cookie",
    "webhook",
    "apikey",
    "privatekey",
    "accesskey",
    "sshkey",
    "signingkey",
    "encryptionkey",
    "bearer",
    "jwt",
    "authorization",
    "oauth",
    "basicauth",
    "authheader",
    "signature",
    "connectionstring",
    "databaseurl",
    "hookurl",
    "mnemonic",
    "recovery",
    "keydata",
];
/// Words that, as whole words of a name, mark a secret.
const WORDS: [&str; 26] = [
    "key", "keys", "pass", "pwd", "pw", "pat", "pats", "pin", "auth", "env", "headers", "pem", "otp", "totp",
    "seed", "hmac", "psk", "dsn", "sas", "sig", "access", "refresh", "session", "hook", "creds", "cred",
];
/// Names that hold such a part and no secret: names of sessions and counts.
const HARMLESS: [&str; 4] = ["mainkey", "sessionkey", "session", "access"];

/// Whether a name (of a key, a header, an option) speaks of a secret.
pub(super) fn names_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if HARMLESS.contains(&&*plain) || name.len() > 80 {
        return false;
    }
    PARTS.iter().any(|part| plain.contains(part))
        || plain.ends_with("key")
        || plain.ends_with("pem")
        || words(name).any(|word| WORDS.contains(&&*word) && !HARMLESS.contains(&&*word))
}

/// Whether a name that speaks of tokens counts them: `maxTokens`.
pub(super) fn counts(name: &str) -> bool {
    let plain = name.to_ascii_lowercase();
    let of = [
        "max",
        "min",
        "context",
        "reserve",
        "limit",
        "budget",
        "keep",
        "count",
        "target",
        "threshold",
        "soft",
    ];
    plain.contains("tokens") && of.iter().any(|word| plain.contains(word))
}

/// The words of `camelCase`, `snake_case` and `kebab-case`, in small letters.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let begins = !c.is_ascii_alphanumeric() || c.is_ascii_uppercase() && before.is_ascii_lowercase();
        if begins {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.into_iter().filter(|word| !word.is_empty())
}

/// Whether a text holds what has the form of a secret wherever it stands.
pub(super) fn holds_secret(text: &str) -> bool {
    holds_password(text)
        || assigns_secret(text)
        || text.contains("-----BEGIN")
        || text.contains("://") && text.to_ascii_lowercase().contains("hook")
        || after_scheme(text)
        || text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))).any(is_issued)
}

/// Whether the text is `scheme://user:password@host` or `user:password@host`.
fn holds_password(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',')).any(|word| {
        let rest = word.split_once("://").map(|(_, rest)| rest);
        let authority = rest.unwrap_or(word).split(['/', '?', '#']).next().unwrap_or_default();
        match authority.rsplit_once('@') {
            Some((user, host)) => rest.is_some() || user.contains(':') && !host.is_empty(),
            None => false,
        }
    })
}

/// `name=value` or `name: value`, where the name speaks of a secret: queries, connection strings, options,
/// lines that were commented out.
pub(super) fn assigns_secret(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices([':', '=']).any(|(at, _)| {
        let before = text[..at].trim_end_matches(|c: char| !word(c) && !matches!(c, '/' | '?' | '&' | ';'));
        let name = &before[before.rfind(|c: char| !word(c)).map_or(0, |n| n + 1)..];
        let after = text[at + 1..].trim_start_matches([' ', '"', '\'', '=', ':']);
        // `token://` and a name at the end assign nothing.
        !after.is_empty() && !after.starts_with("//") && !after.starts_with("${") && names_secret(name)
    })
}

/// Whether the text is a header value such as `Bearer …` or `Basic …`.
fn after_scheme(text: &str) -> bool {
    ["bearer ", "basic ", "token "].iter().any(|scheme| {
        let small = text.to_ascii_lowercase();
        let after = small.find(scheme).and_then(|at| small.get(at + scheme.len()..));
        let value = after.and_then(|rest| rest.split_whitespace().next());
        value.is_some_and(|v| v.len() >= 8 && v.bytes().any(|b| b.is_ascii_digit()))
    })
}

/// Whether a word begins as the secrets of known issuers do, or is a JWT.
fn is_issued(word: &str) -> bool {
    const BEGINNINGS: [&str; 22] = [
        "sk-",
        "sk_",
        "pk_live",
        "rk_live",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "xapp-",
        "AKIA",
        "ASIA",
        "AIza",
        "hf_",
        "npm_",
        "pypi-",
        "dop_v1_",
        "whsec_",
        "tskey-",
    ];
    BEGINNINGS.iter().any(|beginning| word.len() >= beginning.len() + 6 && word.starts_with(beginning))
        || word.starts_with("eyJ") && word.matches('.').count() == 2
}

/// Whether a text has a word that nobody would think up, where nothing is known of the key.
pub(super) fn looks_random(text: &str) -> bool {
    let wide = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '=' | '~' | '.');
    is_random_word(text)
        || text.split(|c: char| !wide(c)).any(|word| {
            let has = |class: fn(&u8) -> bool| word.as_bytes().iter().any(class);
            word.len() >= 20
                && has(u8::is_ascii_digit)
                && has(u8::is_ascii_uppercase)
                && has(u8::is_ascii_lowercase)
                || is_uuid(word)
        })
}

/// Whether a text has a run of letters and digits that change places often, or a long number in hexadecimal.
pub(super) fn is_random_word(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        let class = |b: &u8| (b.is_ascii_digit(), b.is_ascii_uppercase());
        let changes = run.as_bytes().windows(2).filter(|w| class(&w[0]) != class(&w[1])).count();
        let hex = run.bytes().all(|b| b.is_ascii_hexdigit()) && run.bytes().any(|b| b.is_ascii_alphabetic());
        run.len() >= 16 && changes >= 5 || run.len() >= 24 && hex
    })
}

fn is_uuid(word: &str) -> bool {
    let lengths: Vec<_> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Whether a word is a credential by its form alone, whatever it stands in.
pub(super) fn is_credential(word: &str) -> bool {
    let issued = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    holds_password(word) || word.split(issued).any(is_issued)
}

/// Whether a word of a line, or a key's name, is a secret by its form alone; a path is none.
pub(super) fn is_secret_word(word: &str) -> bool {
    let path = word.contains('/') && !word.contains("://");
    word.len() >= 8
        && (is_issued(word)
            || holds_password(word)
            || (word.contains("://") || word.contains('=')) && assigns_secret(word)
            || !path && is_random_word(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "apiKeys",
            "privateKeyPem",
            "sshKeyData",
            "bearer",
            "jwt",
            "pat",
            "pass",
            "pwd",
            "basicAuth",
            "auth",
            "X-Api-Key",
            "--api-key",
            "botToken",
            "DB_PASSWORD",
            "clientSecret",
            "pin",
            "hookUrl",
            "github_pat",
        ] {
            assert!(names_secret(name), "{name}");
        }
        for name in [
            "port",
            "path",
            "passive",
            "pattern",
            "author",
            "compass",
            "mainKey",
            "keyboard",
            "monkeys",
            "environment",
        ] {
            assert!(!names_secret(name), "{name}");
        }
        assert!(counts("contextTokens") && counts("maxTokens") && !counts("tokens"));
    }

    #[test]
    fn texts() {
        for text in [
            "https://u:p@h/x",
            "postgres://h/x?password=abc",
            "Server=x;Password=abc",
            "https://h/?token=abc",
            "redis:pw@host:6379",
            "--api-key=abc",
            "Bearer abcdefgh1",
            "-----BEGIN PRIVATE KEY-----",
            "sk-abcdefgh",
            "https://hooks.slack.com/services/T/B/x",
            "eyJhbGciOi.J9.x",
            "// token: abc",
            "API_KEY=abc",
        ] {
            assert!(holds_secret(text), "{text}");
        }
        for text in [
            "http://127.0.0.1:18789/",
            "anthropic/claude-opus-4-20250514",
            "/home/pi/.openclaw/workspace",
            "every 30m",
            "+49 170 1234567",
            "user@example.org",
            "${TOKEN}",
            "password",
            "UTC+2: Berlin",
        ] {
            assert!(!holds_secret(text) && !is_random_word(text), "{text}");
        }
        assert!(
            looks_random("0b9f2c1e-aaaa-bbbb-cccc-0123456789ab")
                && looks_random("Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5")
        );
        assert!(!looks_random("a sentence of many words without any digits in it"));
    }
}
