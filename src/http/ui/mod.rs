//! The Control UI's pages: the files of `gateway.controlUi.root`, or of an installed OpenClaw.
//!
//! What a path means is decided in [`path`], where the files are in [`files`], what a document becomes before it is sent
//! in [`document`]. Everything that is no file is a page of the app, which has one document for all of them. Nothing here
//! asks for a credential but the app's own settings: files are the same for everybody, and what they show comes over the
//! WebSocket.
//!
//! Source: OpenClaw's `docs/web/control-ui.md` and `docs/web/control-ui/development.md`, and what a running one says.

mod accept;
mod date;
mod document;
mod files;
mod path;
mod send;

use super::{caller::admit, problem};
use crate::{
    app::App,
    config::Settings,
    net::http::{Body, Call, Page},
    protocol::{Json, Scope},
    reactor::on_worker,
};
use accept::takes_html;
use files::{Files, Search};
use hyper::{
    Method, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use nanoserde::SerJson;
use path::{Wanted, wanted};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// The files as they were found last.
#[derive(Default)]
pub(crate) struct Site(RefCell<Option<Arc<Files>>>);

impl Site {
    /// The files; looked for anew where that may have changed, or `anew`.
    async fn files(&self, settings: &Settings, anew: bool) -> Option<Arc<Files>> {
        let search = Search::of(settings);
        let known = self.0.borrow().clone().filter(|files| !anew && files.search == search);
        if known.is_some() {
            return known;
        }
        let found = on_worker(move || Files::find(search)).await.map(Arc::new);
        self.0.borrow_mut().clone_from(&found);
        found
    }
}

/// Headers of everything that is served here, but for `Content-Security-Policy`.
const HEADERS: [(&str, &str); 3] = [
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(self), microphone=*, geolocation=*, clipboard-write=*"),
];

/// Answers a request for a page or a file.
pub(super) async fn answer(app: &Rc<App>, call: &Call) -> Response<Body> {
    let settings = app.settings();
    let ui = &settings.config.control_ui;
    let (method, path) = (&call.head.method, call.head.uri.path());
    let what = match wanted(path, &ui.base) {
        what if matches!(*method, Method::GET | Method::HEAD) && ui.enabled => what,
        _ => return missing(method, path),
    };
    match what {
        Wanted::Nothing => missing(method, path),
        Wanted::Base => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::FOUND;
            if let Ok(location) = format!("{}/", ui.base).try_into() {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Wanted::Config => match admit(app, &call.wire, &call.head.uri, &call.head.headers, Scope::Read) {
            Ok(_) => config(app, &settings).await,
            Err(refusal) => refusal.into(),
        },
        Wanted::Page if !takes_html(text(&call.head.headers, ACCEPT)) => missing(method, path),
        Wanted::Page | Wanted::Entry => match app.site.files(&settings, true).await {
            Some(files) => document_of(&files),
            None if path == "/" => unserved(),
            None => missing(method, path),
        },
        Wanted::File(name) => match app.site.files(&settings, false).await {
            Some(files) => match send::file(files, &name, &call.head).await {
                Some(response) => response,
                None => missing(method, path),
            },
            None => missing(method, path),
        },
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The answer where there is nothing, which names what is not there.
fn missing(method: &Method, path: &str) -> Response<Body> {
    let path: String = path.chars().take(200).collect();
    let message = match path::is_openclaws(&path) {
        true => format!("{method} {path}: a path of OpenClaw's that this version of Barnacle does not serve"),
        false => format!("{method} {path}: there is nothing here"),
    };
    problem(404, "not_found", &message)
}

/// The page of a gateway that has no Control UI to serve.
fn unserved() -> Response<Body> {
    Page::text(
        200,
        "This is a Barnacle gateway. Attach over WebSocket: openclaw gateway status\n\
         The Control UI is not served: no OpenClaw is installed here, and gateway.controlUi.root names no folder with \
         an index.html.\n",
    )
    .into()
}

fn document_of(files: &Files) -> Response<Body> {
    let mut response = Response::new(Body::from(files.document.html.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    secure(headers, &document::policy(&files.document.scripts));
    response
}

/// Adds the headers by which a browser guards a page.
fn secure(headers: &mut HeaderMap, policy: &str) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = policy.try_into() {
        headers.insert("content-security-policy", policy);
    }
}

/// The app's own settings: `/control-ui-config.json`.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Config {
    basePath: String,
    assistantName: &'static str,
    assistantAvatar: &'static str,
    assistantAvatarSource: Option<String>,
    assistantAvatarStatus: Option<String>,
    assistantAvatarReason: Option<String>,
    assistantAgentId: String,
    serverVersion: &'static str,
    serverBuildId: Option<String>,
    embedSandbox: &'static str,
    allowExternalEmbedUrls: bool,
    automaticallyFetchFavicons: bool,
    communityInvite: bool,
    terminalEnabled: bool,
    cliAgentsEnabled: bool,
    pluginAssetsRequireAuth: bool,
    pluginFrameGrants: Vec<String>,
}

async fn config(app: &Rc<App>, settings: &Settings) -> Response<Body> {
    let files = app.site.files(settings, false).await;
    let config = Config {
        basePath: settings.config.control_ui.base.clone(),
        assistantName: "Assistant",
        assistantAvatar: "A",
        assistantAvatarSource: None,
        assistantAvatarStatus: None,
        assistantAvatarReason: None,
        assistantAgentId: settings.config.agents.default.clone(),
        serverVersion: env!("CARGO_PKG_VERSION"),
        serverBuildId: files.map(|files| files.document.build.clone()).filter(|build| !build.is_empty()),
        embedSandbox: "scripts",
        allowExternalEmbedUrls: false,
        automaticallyFetchFavicons: false,
        communityInvite: false,
        terminalEnabled: false,
        cliAgentsEnabled: false,
        pluginAssetsRequireAuth: true,
        pluginFrameGrants: Vec::new(),
    };
    let mut response = Response::from(Page::json(200, &Json::of(&config).0));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    secure(response.headers_mut(), &document::policy(&[]));
    response
}
