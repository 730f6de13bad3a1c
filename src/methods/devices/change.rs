//! Changes of the device registry by an operator: read from a request, applied, answered. The gateway applies them
//! for its callers, and the command line where no gateway runs.

use super::shapes::{self, Live};
use crate::{
    auth::Caller,
    methods::shape::Object,
    protocol::{DeviceId, ErrorShape, Json, Params, RequestId, Role, Scope, Scopes},
    store::{Device, Registry, RegistryError, Request},
};
use std::rc::Rc;

/// A change that is asked for.
pub(crate) enum Change {
    /// `device.pair.approve`, of a request by its id or its device's.
    Approve(String),
    /// `device.pair.reject`.
    Reject(String),
    /// `device.pair.remove`.
    Remove(String),
    /// `device.pair.rename`: the device and its label.
    Rename(String, String),
    /// `device.token.rotate`. With scopes, an operator may narrow what the role was approved for.
    Rotate(String, Role, Option<Scopes>),
    /// `device.token.revoke`.
    Revoke(String, Role),
}

/// A change that was made.
pub(crate) enum Changed {
    /// The request is granted, which answers these requests.
    Approved(Rc<Request>, Vec<Rc<Request>>),
    /// The request is dropped.
    Rejected(Rc<Request>),
    /// The device is gone.
    Removed(DeviceId),
    /// The device has another label.
    Renamed(DeviceId, String),
    /// The role has a new token, of this generation.
    Rotated(DeviceId, Role, Scopes, u32),
    /// The role is revoked, since then.
    Revoked(DeviceId, Role, u64),
}

/// The moment of a change.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// Wall-clock milliseconds.
    pub(crate) now_ms: u64,
    /// Uptime until which a replaced token counts, milliseconds; see [`Grant::grace_ms`](crate::store::Grant).
    pub(crate) grace_ms: u64,
}

/// Reads a change from the parameters of a method.
pub(crate) type ReadChange = fn(&Params<'_>) -> Result<Change, ErrorShape>;

impl Change {
    pub(super) fn approve(params: &Params<'_>) -> Result<Self, ErrorShape> {
        request(params).map(Self::Approve)
    }

    pub(super) fn reject(params: &Params<'_>) -> Result<Self, ErrorShape> {
        request(params).map(Self::Reject)
    }

    pub(super) fn remove(params: &Params<'_>) -> Result<Self, ErrorShape> {
        Ok(Self::Remove(params.str("deviceId")?.into()))
    }

    pub(super) fn rename(params: &Params<'_>) -> Result<Self, ErrorShape> {
        Ok(Self::Rename(params.str("deviceId")?.into(), params.str("label")?.into()))
    }

    pub(super) fn rotate(params: &Params<'_>) -> Result<Self, ErrorShape> {
        let scopes = params.value("scopes").map(|_| params.strs("scopes")).transpose()?;
        Ok(Self::Rotate(params.str("deviceId")?.into(), role(params)?, scopes.map(Scopes::from_names)))
    }

    pub(super) fn revoke(params: &Params<'_>) -> Result<Self, ErrorShape> {
        Ok(Self::Revoke(params.str("deviceId")?.into(), role(params)?))
    }

    /// Makes the change, if `caller` may.
    ///
    /// # Errors
    /// Why it may not, or why the registry is left as it is.
    pub(crate) fn apply(
        &self,
        registry: &mut Registry,
        caller: &Caller,
        at: Moment,
    ) -> Result<Changed, ErrorShape> {
        Ok(match self {
            Self::Approve(wanted) => {
                let request = registry.find_request(wanted)?;
                if let Some(why) = forbidden(&request, caller) {
                    return Err(ErrorShape::invalid(format!("device pairing approval denied: {why}")));
                }
                let answered = registry.approve_request(&request, at.now_ms);
                Changed::Approved(request, answered)
            }
            Self::Reject(wanted) => {
                let request = registry.find_request(wanted)?;
                if !caller.manages(&request.key.device_id()) {
                    return Err(ErrorShape::invalid("device pairing rejection denied: not the caller's own"));
                }
                registry.take_request(&request.id);
                Changed::Rejected(request)
            }
            Self::Remove(device) => {
                let id = managed(registry, caller, device)?;
                registry.remove(&id, at.now_ms).ok_or_else(|| RegistryError::NoDevice(id.to_string()))?;
                Changed::Removed(id)
            }
            Self::Rename(device, label) => {
                let id = managed(registry, caller, device)?;
                Changed::Renamed(id, registry.rename(&id, label)?)
            }
            Self::Rotate(device, role, wanted) => {
                let id = token_of(registry, caller, device, *role, "rotate")?;
                let (scopes, generation) = registry.rotate(&id, *role, *wanted, at.now_ms, at.grace_ms)?;
                Changed::Rotated(id, *role, scopes, generation)
            }
            Self::Revoke(device, role) => {
                let id = token_of(registry, caller, device, *role, "revoke")?;
                Changed::Revoked(id, *role, registry.revoke(&id, *role, at.now_ms)?)
            }
        })
    }
}

impl Changed {
    /// The device that was changed.
    pub(crate) fn device(&self) -> DeviceId {
        match self {
            Self::Approved(request, _) | Self::Rejected(request) => request.key.device_id(),
            Self::Removed(id) | Self::Renamed(id, _) | Self::Rotated(id, ..) | Self::Revoked(id, ..) => *id,
        }
    }

    /// The answer; `token` is the new one of a rotated role, for the device itself only.
    pub(crate) fn answer(
        &self,
        registry: &Registry,
        live: impl Fn(&Device) -> Live,
        token: Option<String>,
        at: Moment,
    ) -> Json {
        let device = self.device();
        let object = Object::new();
        match self {
            Self::Approved(request, _) => {
                let device = registry.device(&device).map(|d| shapes::paired(d, live(d)));
                object
                    .put("requestId", &request.id.0)
                    .put("device", &device.unwrap_or_else(Json::null))
                    .json()
            }
            Self::Rejected(request) => {
                object.put("requestId", &request.id.0).put("deviceId", &device.to_string()).json()
            }
            Self::Removed(_) => object.put("deviceId", &device.to_string()).json(),
            Self::Renamed(_, label) => object.put("deviceId", &device.to_string()).put("label", label).json(),
            Self::Rotated(_, role, scopes, _) => object
                .put("deviceId", &device.to_string())
                .put("role", role.as_str())
                .opt("token", token.as_ref())
                .put("scopes", scopes)
                .put("rotatedAtMs", &at.now_ms)
                .put("tokenDelivery", if token.is_some() { "in-band" } else { "withheld-cross-device" })
                .json(),
            Self::Revoked(_, role, at) => object
                .put("deviceId", &device.to_string())
                .put("role", role.as_str())
                .put("revokedAtMs", at)
                .json(),
        }
    }
}

/// Reads `requestId`, or `deviceId` where there is none.
fn request(params: &Params<'_>) -> Result<String, ErrorShape> {
    let device = params.opt_str("deviceId")?.filter(|_| params.value("requestId").is_none());
    Ok(device.map_or_else(|| params.str("requestId"), Ok)?.to_owned())
}

fn role(params: &Params<'_>) -> Result<Role, ErrorShape> {
    let word = params.str("role")?;
    let unknown = || params.invalid("role", &format!("operator or node, not {word}"));
    Ok(Role::parse(word).ok_or_else(unknown)?)
}

/// Finds a paired device that `caller` manages.
fn managed(registry: &Registry, caller: &Caller, device: &str) -> Result<DeviceId, ErrorShape> {
    let id = registry.find_device(device)?;
    if caller.manages(&id) {
        return Ok(id);
    }
    Err(denied())
}

/// The refusal of a caller that does not manage a device.
pub(in crate::methods) fn denied() -> ErrorShape {
    ErrorShape::invalid("device management denied: a device without operator.admin manages only itself")
}

/// Finds a device of which `caller` may change the token for `role`.
fn token_of(
    registry: &Registry,
    caller: &Caller,
    device: &str,
    role: Role,
    verb: &str,
) -> Result<DeviceId, ErrorShape> {
    let id = managed(registry, caller, device)?;
    let grant = registry.device(&id).and_then(|d| d.grant(role)).ok_or(RegistryError::NoRole(id, role))?;
    if caller.is_admin() {
        return Ok(id);
    }
    if role != Role::Operator {
        let hint = format!("the token of role {role} is an administrator's to {verb}");
        return Err(ErrorShape::missing_scope(Scope::Admin, Some(hint)));
    }
    if !caller.scopes.covers(grant.scopes) {
        let hint = format!("the token holds [{}], more than the caller", grant.scopes);
        return Err(ErrorShape::missing_scope(Scope::Admin, Some(hint)));
    }
    Ok(id)
}

/// Why `caller` may not approve `request`.
fn forbidden(request: &Request, caller: &Caller) -> Option<String> {
    if caller.is_admin() {
        return None;
    }
    if !caller.manages(&request.key.device_id()) {
        return Some("a device without operator.admin approves only requests of its own".into());
    }
    if request.role != Role::Operator {
        return Some(format!("role {} needs operator.admin", request.role));
    }
    (!caller.scopes.covers(request.scopes))
        .then(|| format!("it asks for [{}], more than the caller's own [{}]", request.scopes, caller.scopes))
}

impl From<RegistryError> for ErrorShape {
    fn from(error: RegistryError) -> Self {
        Self::invalid(match error {
            RegistryError::NoRequest(id) => format!("unknown requestId: {id}; see barnacle devices list"),
            RegistryError::SeveralRequests(ids) => {
                let ids: Vec<_> = ids.iter().map(RequestId::to_string).collect();
                format!("the device has several requests: {}; name one of them", ids.join(", "))
            }
            RegistryError::NoDevice(id) => format!("unknown deviceId: {id}; see barnacle devices list"),
            RegistryError::NoRole(id, role) => format!("device token denied: {id} has no role {role}"),
            RegistryError::Revoked(id, role) => {
                format!("device token rotate denied: role {role} of {id} is revoked; approve it again first")
            }
            RegistryError::Wider(wanted, approved) => {
                format!("device token rotate denied: [{wanted}] is more than the approved [{approved}]")
            }
            RegistryError::Label(longest) => {
                format!("invalid device.pair.rename params: at /label: must have 1 to {longest} characters")
            }
        })
    }
}
