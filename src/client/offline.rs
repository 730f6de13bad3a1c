//! The `device.*` methods where no gateway runs: answered from the store, which is locked meanwhile.

use super::{CallError, ErrorResponse, Target};
use crate::{
    auth::Caller,
    clock::wall_ms,
    host,
    methods::{
        self, Method,
        devices::{
            change::Moment,
            shapes::{self, Live},
        },
    },
    protocol::{ErrorShape, Json, Params, RequestFrame},
    store::{ChangeError, GRACE_MS, OpenError, Store},
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
            Ok(request) => {
                request.params().map_err(ErrorShape::from).and_then(|params| self.answer(method, &params))
            }
            Err((why, _)) => Err(ErrorShape::invalid(why.to_string())),
        };
        answer.map(|json| json.0).map_err(|e| {
            let hint = e.details().and_then(|d| d.hint.clone());
            CallError::Failed(Box::new(ErrorResponse {
                code: String::new(),
                message: e.message().into(),
                hint,
                is_final: false,
            }))
        })
    }

    fn answer(&mut self, method: &str, params: &Params<'_>) -> Result<Json, ErrorShape> {
        if method == "device.pair.list" {
            return Ok(shapes::list(&self.store.registry(), |_| true, |_| Live::default()));
        }
        let Some(read) = methods::find(method).and_then(Method::registry_change) else {
            return Err(ErrorShape::invalid(format!("{method} needs a running gateway")));
        };
        let change = read(params)?;
        // No gateway has loaded the registry: the day of grace of a replaced token begins when one does.
        let at = Moment { now_ms: wall_ms(), grace_ms: GRACE_MS };
        let done = self.store.change(|registry| change.apply(registry, &Caller::host(), at));
        let changed = smol::block_on(done).map_err(|e| match e {
            ChangeError::Refused(error) => error,
            ChangeError::Disk(e) => ErrorShape::invalid(e.to_string()),
        })?;
        self.changed = true;
        Ok(changed.answer(&self.store.registry(), |_| Live::default(), None, at))
    }
}

/// Opens the store in `dir`; its warnings go to standard error.
pub fn open(dir: &Path) -> Result<Store, OpenError> {
    let (store, notices) = Store::open(dir)?;
    notices.iter().for_each(|n| eprintln!("barnacle: {n}"));
    Ok(store)
}
