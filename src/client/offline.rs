//! The `device.*` methods where no gateway runs: answered from the store, which is locked meanwhile.

use super::{CallError, ErrorResponse, Target};
use crate::{
    clock::wall_ms,
    host,
    methods::wire::{self, Live, Paired},
    protocol::{ErrorShape, Json, Params, RequestFrame, Role, Scopes},
    store::{ChangeError, GRACE_MS, OpenError, Registry, Store, Unfit},
};
use std::path::{Path, PathBuf};

/// The store of a gateway that does not run.
pub struct Offline {
    store: Store,
    changed: bool,
}

impl Offline {
    /// Opens the store that the gateway of `target` would use. `None` where there is none, or the target
    /// is not this host's own gateway.
    ///
    /// # Errors
    /// [`CallError::Store`], for one that a gateway holds, with its process id.
    pub fn open(target: &Target) -> Result<Option<Self>, CallError> {
        let dir = &target.dir;
        let exists = ["tokens.bin", "tokens.bin.prev"].iter().any(|name| dir.join(name).exists());
        if !target.own || !exists {
            return Ok(None);
        }
        let store = open(dir).map_err(|e| match e {
            OpenError::Locked(dir, pid) => CallError::Store(format!(
                "nobody listens at {}, yet {} uses {}: name its port with --url ws://127.0.0.1:<port>",
                target.url,
                host::holder(pid),
                dir.display()
            )),
            e => CallError::Store(e.to_string()),
        })?;
        Ok(Some(Self { store, changed: false }))
    }

    /// The file that was changed, if one was.
    pub fn changed(&self) -> Option<PathBuf> {
        self.changed.then(|| self.store.dir().join("tokens.bin"))
    }

    /// Answers `method` as the gateway would.
    ///
    /// # Errors
    /// [`CallError::Failed`].
    pub fn call(&mut self, method: &str, params: &str) -> Result<String, CallError> {
        let frame = format!(r#"{{"type":"req","id":"1","method":"{method}","params":{params}}}"#);
        let answer = match RequestFrame::parse(&frame) {
            Ok(request) => self.answer(method, &request.params()),
            Err((why, _)) => Err(ErrorShape::invalid(why.to_string())),
        };
        answer.map(|json| json.0).map_err(|e| {
            let hint = e.details().and_then(|d| d.hint.clone());
            CallError::Failed(Box::new(ErrorResponse {
                code: String::new(),
                message: e.message().into(),
                hint,
            }))
        })
    }

    fn answer(&mut self, method: &str, params: &Params<'_>) -> Result<Json, ErrorShape> {
        let now = wall_ms();
        let device =
            || -> Result<_, ErrorShape> { Ok(self.store.registry().find_device(params.str("deviceId")?)?) };
        let role = || -> Result<Role, ErrorShape> {
            let word = params.str("role")?;
            let unknown = || ErrorShape::invalid(format!("role must be operator or node, not {word}"));
            Role::parse(word).ok_or_else(unknown)
        };
        match method {
            "device.pair.list" => {
                Ok(wire::device_list(&self.store.registry(), |_| true, |_| Live::default()))
            }
            "device.pair.approve" => {
                let wanted = params.str("requestId")?;
                let request = self.change(|registry| {
                    let request = registry.find_request(wanted)?;
                    registry.approve_request(&request, now);
                    Ok(request)
                })?;
                let registry = self.store.registry();
                let device = registry.device(&request.key.device_id());
                Ok(wire::approved(&request, device.map(|d| Paired::new(d, Live::default()))))
            }
            "device.pair.reject" => {
                let wanted = params.str("requestId")?;
                let request = self.change(|registry| {
                    let request = registry.find_request(wanted)?;
                    registry.take_request(&request.id);
                    Ok(request)
                })?;
                Ok(wire::rejected(&request))
            }
            "device.pair.remove" => {
                let id = device()?;
                let removed =
                    self.change(|registry| registry.remove(&id, now).ok_or(Unfit::NoDevice(id.to_string())));
                removed.map(|_| wire::removed(&id))
            }
            "device.pair.rename" => {
                let (id, label) = (device()?, params.str("label")?);
                let label = self.change(|registry| registry.rename(&id, label))?;
                Ok(wire::renamed(&id, &label))
            }
            "device.token.rotate" => {
                let (id, role) = (device()?, role()?);
                let scopes = params.value("scopes").map(|_| params.strs("scopes")).transpose()?;
                let scopes = scopes.map(Scopes::from_names);
                // No gateway has loaded the registry: the day of grace begins when one does.
                let (scopes, _) =
                    self.change(|registry| registry.rotate(&id, role, scopes, now, GRACE_MS))?;
                Ok(wire::rotated(&id, role, scopes, None, now))
            }
            "device.token.revoke" => {
                let (id, role) = (device()?, role()?);
                let at = self.change(|registry| registry.revoke(&id, role, now))?;
                Ok(wire::revoked(&id, role, at))
            }
            other => Err(ErrorShape::invalid(format!("{other} needs a running gateway"))),
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Registry) -> Result<T, Unfit>) -> Result<T, ErrorShape> {
        match smol::block_on(self.store.change(change)) {
            Ok(value) => {
                self.changed = true;
                Ok(value)
            }
            Err(ChangeError::Refused(unfit)) => Err(unfit.into()),
            Err(ChangeError::Disk(e)) => Err(ErrorShape::invalid(e.to_string())),
        }
    }
}

/// Opens the store in `dir`; its warnings go to standard error.
pub fn open(dir: &Path) -> Result<Store, OpenError> {
    let (store, notices) = Store::open(dir)?;
    notices.iter().for_each(|n| eprintln!("barnacle: {n}"));
    Ok(store)
}
