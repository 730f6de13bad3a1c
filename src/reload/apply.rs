//! Applies new settings to the running gateway.

use super::{Outcome, ReloadReport, Reloads, lost, shared_auth};
use crate::{
    admission::limits::Places,
    auth::Lost,
    clock::wall_ms,
    config::{
        KeyPath, RevokeOnRotate, Settings, Upstream,
        change::{
            diff::{Change, diff},
            plan::{Plan, plan},
        },
        credentials::kept,
        keys::{Effect, own::OWN},
        redact, to_keep,
    },
    hub::{Audience, Conn},
    protocol::{DeviceId, Event, Json, Role},
    reactor::on_worker,
    store::{Device, atomic},
    tls::Tls,
};
use std::rc::Rc;

impl Reloads {
    pub(super) async fn apply(self: &Rc<Self>, old: &Settings, mut new: Settings, outcome: &mut Outcome) {
        if matches!(new.tls, Tls::ToGenerate(_)) {
            let make = |mut new: Settings| {
                new.make_certificate();
                new
            };
            new = on_worker(move || make(new)).await;
            new.keep_tls(old);
        }
        // The old address stays where the new one cannot be had.
        self.elsewhere.take();
        if !new.keep_where_it_listens(old) && outcome.plan.effects.contains(&Effect::Listen) {
            match self.rooms.listeners.open(new.where_to_listen(), new.port) {
                Ok(port) => new.port = port,
                Err(e) => {
                    // Who has the port is looked for among all processes.
                    let e = on_worker(move || e.to_string()).await;
                    let notice = format!("still listening where it was, on port {}: {e}", old.port);
                    log::error!("{notice}");
                    *self.elsewhere.borrow_mut() = Some(notice);
                    (new.port, new.bind) = (old.port, old.bind);
                }
            }
        }
        let moved = (old.local_url() != new.local_url()).then(|| new.local_url());
        let browsers = self.browsers_to_revoke(old, &new);
        new.lines_new_since(old).for_each(|line| log::warn!("{line}"));
        self.rooms.limiter.borrow_mut().set_limits(new.limits);
        let (was, now) = (shared_auth(old), shared_auth(&new));
        let lost = |conn: Rc<Conn>| {
            let why = lost(&self.rooms.devices, &conn.session(), &was, &now)?;
            Some((conn, why))
        };
        outcome.refused = self.rooms.conns.all().into_iter().filter_map(lost).collect();
        if new.upstream.is_some() != old.upstream.is_some() {
            self.rooms.admission.set_places(Places::of_process(new.upstream.is_some()));
        }
        self.rooms.running.set(new);
        self.rooms.relay.changed(old);
        if !browsers.is_empty() {
            self.revoke_browsers(browsers, outcome).await;
        }
        if let Some(url) = moved {
            self.rooms.devices.store.moved(&url).await;
        }
        self.keep_config().await;
    }

    /// Keeps the configuration that runs, for a start at which the file cannot be read.
    pub async fn keep_config(&self) {
        let settings = self.rooms.running.get();
        // Whoever makes the directory anew has its lock: another gateway could begin there.
        let _ = self.rooms.devices.store.renew().await;
        self.keep_own(&settings).await;
        self.keep_secret(&settings).await;
        if !settings.found.is_whole() {
            return;
        }
        let (paths, env) = (settings.paths.clone(), settings.env().clone());
        let (source, errors) = (settings.source.clone(), settings.errors.clone());
        let path = paths.last_config();
        let kept = on_worker(move || match to_keep(&paths, &env, &source, &errors) {
            Some(text) => atomic::make_directory(&paths.barnacle_dir)
                .and_then(|()| atomic::replace(&paths.last_config(), text.as_bytes(), 0o600)),
            None => Ok(()),
        });
        if let Err(e) = kept.await {
            let path = path.display();
            log::warn!("{path} cannot be written ({e}): it is what holds when openclaw.json breaks");
        }
    }

    /// Keeps what runs of Barnacle's own file in the same way.
    async fn keep_own(&self, settings: &Settings) {
        let path = settings.paths.last_own_file();
        let kept = match settings.own.to_keep(&settings.errors) {
            None => Ok(()),
            Some(running) => on_worker(move || running.keep(&path)).await,
        };
        if let Err(e) = kept {
            let path = settings.paths.last_own_file();
            log::warn!(
                "{} cannot be written ({e}): it is what holds when barnacle.json breaks",
                path.display()
            );
        }
    }

    /// Keeps what a start needs to know the shared secret by while its file is away.
    async fn keep_secret(&self, settings: &Settings) {
        let active = settings.credentials.active.clone();
        let secret = active.and_then(|(secret, from)| Some((secret, kept::place(&from, &settings.source)?)));
        if secret.is_none() && !settings.found.is_whole() {
            return;
        }
        let (paths, key) = (settings.paths.clone(), self.rooms.devices.key().clone());
        let keep = on_worker(move || kept::keep(&paths, &key, secret.as_ref().map(|(s, p)| (s, p.clone()))));
        if let Err(e) = keep.await {
            log::debug!("the shared secret is not kept: {e}");
        }
    }

    /// With `auth.revokeOnRotate: "browsers"`, the browsers that a new shared secret locks out.
    pub(crate) fn browsers_to_revoke(&self, old: &Settings, new: &Settings) -> Vec<DeviceId> {
        let secret = |s: &Settings| s.credentials.active.as_ref().map(|(secret, _)| secret.clone());
        let rotated = old.credentials.active.is_some() && secret(old) != secret(new);
        if !rotated || new.config.auth.revoke_on_rotate != RevokeOnRotate::Browsers {
            return Vec::new();
        }
        let registry = self.rooms.devices.registry();
        let live = |d: &&Rc<Device>| {
            d.display.is_browser() && d.grant(Role::Operator).is_some_and(|g| g.revoked_ms.is_none())
        };
        registry.devices().filter(live).map(|d| d.id()).collect()
    }

    async fn revoke_browsers(self: &Rc<Self>, browsers: Vec<DeviceId>, outcome: &mut Outcome) {
        let done = self.rooms.devices.change(|registry| {
            for id in &browsers {
                registry.revoke(id, Role::Operator, wall_ms())?;
            }
            Ok(())
        });
        if let Err(e) = done.await {
            return log::error!("the browsers of the old secret are not revoked: {}", e.message());
        }
        log::info!("{} browsers revoked: auth.revokeOnRotate is \"browsers\"", browsers.len());
        let of_browser = |conn: &Rc<Conn>| {
            conn.role() == Role::Operator && conn.device().is_some_and(|id| browsers.contains(&id))
        };
        let of_browser = self.rooms.conns.all().into_iter().filter(of_browser);
        outcome.refused.extend(of_browser.map(|conn| (conn, Lost::AuthChanged)));
    }

    /// Tells clients of an outcome.
    pub(super) fn publish(self: &Rc<Self>, outcome: &Outcome) {
        let reported = outcome.plan.changes.iter().filter(|(_, effect)| *effect != Effect::Silent);
        let payload = ReloadReport {
            ts: wall_ms(),
            ok: outcome.broken.is_none(),
            changed: reported
                .map(|(change, _)| redact::line(&change.path.to_string()).into_owned())
                .collect(),
            applied: outcome.plan.done(),
            closed: outcome.refused.len() as u64,
            issue: outcome.broken.clone(),
        };
        self.rooms.events.publish(Event::ConfigReloaded, Audience::Everyone, &Json::of(&payload));
        if !outcome.refused.is_empty() {
            // Before they are closed.
            self.rooms.events.flush();
        }
    }
}

/// Compares the settings in use with new ones, and plans what is to be done.
pub(crate) fn compare(old: &Settings, new: &Settings) -> Plan {
    let mut plan = plan(diff(&old.source.root, &new.source.root));
    if new.upstream.as_ref().is_some_and(Upstream::is_local) {
        plan = plan.in_front();
    }
    plan.add(OWN, diff(&old.own.source.root, &new.own.source.root));
    // The file of its token may change though no key does.
    let is_same = |a: &Upstream, b: &Upstream| a.is_dialled_as(b);
    if old.upstream.as_ref().zip(new.upstream.as_ref()).is_some_and(|(old, new)| !is_same(old, new)) {
        plan.effects.insert(Effect::Upstreams);
    }
    // What a value resolves to may change though the file did not.
    if old.credentials.active != new.credentials.active || old.auth != new.auth {
        plan.effects.insert(Effect::Credentials);
    }
    // The files of a certificate are not the configuration's.
    if !old.tls.is_same(&new.tls) && plan.effects.insert(Effect::Tls) {
        let path = KeyPath::dotted("gateway.tls.certPath");
        plan.changes.push((Change { path, was: true, is: true }, Effect::Tls));
    }
    // Nor need the file change for an address to be free that was not.
    if (old.where_to_listen(), old.port) != (new.where_to_listen(), new.port) {
        plan.effects.insert(Effect::Listen);
    }
    plan
}
