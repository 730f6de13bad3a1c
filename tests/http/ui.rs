//! The Control UI's pages: files of a folder, the app's document for all else, and nothing from outside the folder.

use crate::{
    server::{Answer, Http},
    wire::{Home, LONG, Server},
};
use std::{
    fs,
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const INDEX: &str = "<!doctype html>\n<html data-openclaw-control-ui-build-id=\"1.2\" lang=\"en\"><link href=\"./favicon.svg\">\
                     <script>let a = 1;</script><script type=\"module\" src=\"./assets/app-1.js\"></script></html>";

/// A folder with an app in it.
fn app(home: &Home) -> PathBuf {
    let root = home.config_path().parent().unwrap().join("ui");
    for (name, text) in [
        ("index.html", INDEX),
        ("assets/app-1.js", "app()"),
        ("assets/app-1.js.br", "BR"),
        ("assets/app-1.js.gz", "GZ"),
        ("favicon.svg", "<svg/>"),
        ("sw.js", "worker()"),
        ("a b.txt", "spaced"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn start(keys: &str) -> (Home, Server, PathBuf) {
    let home = Home::fix();
    let root = app(&home);
    set(&home, &root, keys);
    let server = home.start();
    (home, server, root)
}

fn set(home: &Home, root: &Path, keys: &str) {
    let (port, root) = (home.port, root.display());
    home.config(&format!(
        "{{gateway: {{mode: 'local', port: {port}, auth: {{token: 'T1'}}, controlUi: {{root: '{root}', {keys}}}}}}}"
    ));
}

fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let mut http = Http::dial(server);
    http.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    http.answer()
}

fn get(server: &Server, path: &str) -> Answer {
    ask(server, "GET", path, "")
}

#[test]
fn pages_and_files() {
    let (_home, server, _root) = start("");
    for (path, status, kind, body) in [
        ("/", 200, "text/html", "data-openclaw-control-ui-base-path=\"\""),
        ("/index.html", 200, "text/html", "src=\"/assets/app-1.js\""),
        ("/chat/agent%3Amain", 200, "text/html", "href=\"/favicon.svg?v=1.2\""),
        ("/assets/", 200, "text/html", "<!doctype html>"),
        ("/assets/app-1.js", 200, "application/javascript", "app()"),
        ("/a%20b.txt", 200, "text/plain", "spaced"),
        ("/favicon.svg", 200, "image/svg+xml", "<svg/>"),
        ("/assets/none.js", 404, "application/json", "GET /assets/none.js: there is nothing here"),
        ("/api/users/x/avatar", 404, "application/json", "a path of OpenClaw's"),
        ("/..%2fopenclaw.json", 404, "application/json", "error"),
        ("/%2e%2e/openclaw.json", 404, "application/json", "error"),
        ("/../openclaw.json", 404, "application/json", "error"),
        ("//etc/os-release.txt", 404, "application/json", "error"),
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        assert!(answer.body.contains(body), "{path}: {}", answer.body);
        if status == 200 {
            assert!(answer.head.contains("x-frame-options: deny"), "{path}: {}", answer.head);
            assert!(answer.head.contains("frame-ancestors 'none'"), "{path}: {}", answer.head);
        }
    }
    let document = get(&server, "/").head;
    // printf 'let a = 1;' | openssl dgst -sha256 -binary | base64, in lower case.
    assert!(document.contains("script-src 'self' 'sha256-"), "{document}");
    assert!(document.contains("cache-control: no-cache"), "{document}");
    assert_eq!(ask(&server, "GET", "/chat", "Accept: application/json\r\n").status, 404);
    assert_eq!(ask(&server, "GET", "/", "Accept: application/json\r\n").status, 200);
    for path in ["/", "/chat", "/assets/app-1.js", "/any"] {
        let answer = ask(&server, "POST", path, "Content-Length: 0\r\n");
        assert!(answer.status == 404 && answer.body.starts_with(r#"{"error":"#), "{path}: {}", answer.body);
    }
    assert_eq!(get(&server, "/health").status, 200);
}

#[test]
fn files_are_encoded_and_asked_for_again_as_browsers_do() {
    let (_home, server, _root) = start("");
    let with = |headers: &str| ask(&server, "GET", "/assets/app-1.js", headers);
    for (headers, body, coding) in [
        ("", "app()", None),
        ("Accept-Encoding: gzip, deflate, br\r\n", "BR", Some("br")),
        ("Accept-Encoding: gzip\r\n", "GZ", Some("gzip")),
        ("Accept-Encoding: identity\r\n", "app()", None),
    ] {
        let answer = with(headers);
        assert_eq!(answer.body, body, "{headers}");
        assert_eq!(answer.head.contains("content-encoding: "), coding.is_some(), "{}", answer.head);
        assert!(answer.head.contains("vary: accept-encoding"), "{}", answer.head);
    }
    let head = with("").head;
    let modified = head.split("last-modified: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let modified = format!("{}{}", modified[..1].to_uppercase(), &modified[1..]);
    // As it was sent: days, months and GMT in their letters.
    let mut http = Http::dial(&server);
    http.send("HEAD /assets/app-1.js HTTP/1.1\r\nHost: x\r\n\r\n");
    let (status, head) = http.head();
    assert!(status == 200 && head.contains("content-length: 5"), "{head}");
    http.send("GET /favicon.svg HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n");
    let (status, head) = http.head();
    assert!(status == 304, "{modified} {head}");
    http.send("GET /favicon.svg HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\"\r\n\r\n");
    assert_eq!(http.answer().status, 200);
    // A folder of the user's may be built anew at any time.
    for path in ["/assets/app-1.js", "/favicon.svg?v=1.2", "/sw.js"] {
        assert!(get(&server, path).head.contains("cache-control: no-cache"), "{path}");
    }
}

#[test]
fn an_installed_openclaw_is_found_and_its_files_kept() {
    let home = Home::fix();
    let root = app(&home);
    let package = home.config_path().parent().unwrap().join("prefix/lib/node_modules/openclaw");
    fs::create_dir_all(package.join("dist")).unwrap();
    fs::rename(root, package.join("dist/control-ui")).unwrap();
    fs::write(package.join("openclaw.mjs"), "").unwrap();
    let bin = package.ancestors().nth(3).unwrap().join("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(package.join("openclaw.mjs"), bin.join("openclaw")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let server = home.start_with(&[], &[("PATH", &path)]);
    assert!(get(&server, "/").body.contains("data-openclaw-control-ui-base-path"));
    for (path, kept) in [
        ("/assets/app-1.js", true),
        ("/favicon.svg?v=1.2", true),
        ("/favicon.svg?v=1.1", false),
        ("/favicon.svg", false),
        ("/sw.js?v=1.2", false),
    ] {
        let head = get(&server, path).head;
        assert_eq!(head.contains("immutable"), kept, "{path}: {head}");
    }
}

#[test]
fn nothing_from_outside_the_folder() {
    let (home, server, root) = start("");
    let outside = home.config_path();
    symlink(&outside, root.join("out.json")).unwrap();
    symlink(outside.parent().unwrap(), root.join("up")).unwrap();
    symlink(root.join("favicon.svg"), root.join("in.svg")).unwrap();
    fs::create_dir(root.join("folder.txt")).unwrap();
    std::process::Command::new("mkfifo").arg(root.join("pipe.txt")).status().unwrap();
    for (path, status) in [
        ("/out.json", 404),
        ("/up/openclaw.json", 404),
        ("/folder.txt", 404),
        ("/pipe.txt", 404),
        ("/in.svg", 200),
    ] {
        let answer = get(&server, path);
        assert!(answer.status == status && !answer.body.contains("T1"), "{path}: {}", answer.body);
    }
}

#[test]
fn below_a_path_and_not_at_all() {
    let (home, server, root) = start("basePath: '/ui/'");
    for (path, status, part) in [
        ("/ui", 302, ""),
        ("/ui/", 200, "data-openclaw-control-ui-base-path=\"/ui\""),
        ("/ui/chat", 200, "src=\"/ui/assets/app-1.js\""),
        ("/ui/assets/app-1.js", 200, "app()"),
        ("/", 404, "error"),
        ("/assets/app-1.js", 404, "error"),
        ("/control-ui-config.json", 404, "error"),
        ("/ui/control-ui-config.json", 401, "unauthorized"),
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
    }
    assert!(get(&server, "/ui").head.contains("location: /ui/\r\n"));
    let config = ask(&server, "GET", "/ui/control-ui-config.json", "Authorization: Bearer T1\r\n");
    assert!(config.body.starts_with(r#"{"basePath":"/ui","assistantName":"Assistant""#), "{}", config.body);
    assert!(config.body.contains(r#""serverBuildId":"1.2""#), "{}", config.body);
    // From the next request on.
    let mut admin = server.admin();
    set(&home, &root, "enabled: false");
    admin.event("config.reloaded");
    for path in ["/", "/ui/", "/chat", "/assets/app-1.js"] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    assert_eq!(get(&server, "/health").status, 200);
    let gone = root.with_file_name("gone");
    set(&home, &gone, "");
    admin.event("config.reloaded");
    let answer = get(&server, "/");
    assert!(answer.status == 200 && answer.body.contains("The Control UI is not served"), "{}", answer.body);
}

#[test]
fn a_large_file_waits_for_its_reader_and_holds_up_nobody() {
    let (_home, server, root) = start("");
    let text: String = (0..400_000).map(|n| format!("{n:08}\n")).collect();
    fs::write(root.join("large.txt"), &text).unwrap();
    let mut slow: Vec<Http> = (0..8).map(|_| Http::dial(&server)).collect();
    for http in &mut slow {
        http.send("GET /large.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    assert_eq!(get(&server, "/favicon.svg").body, "<svg/>");
    for mut http in slow {
        let (status, head) = http.head();
        assert!(status == 200 && head.contains("content-length: 3600000"), "{head}");
        let mut body = vec![0; text.len()];
        http.socket.get_ref().set_read_timeout(Some(LONG)).unwrap();
        http.socket.read_exact(&mut body).unwrap();
        assert!(body == text.as_bytes());
    }
}
