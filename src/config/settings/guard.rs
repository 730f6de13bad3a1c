//! What stops a start, and what is said of the file's state, of its owner and of the environment.

use super::{Flags, Settings, StartError, load::FileState};
use crate::config::{
    Env, Mode, Paths,
    keys::{self, DEFAULT_HANDSHAKE_TIMEOUT},
    model::GatewayConfig,
};
use std::{path::PathBuf, time::Duration};

/// Says whose a file is that a running gateway does not apply.
pub(super) fn foreign_line((path, owner): &(PathBuf, u32)) -> String {
    let path = path.display();
    let us = rustix::process::geteuid().as_raw();
    format!(
        "{path} belongs to uid {owner}, which is neither this user, root, nor the owner of its directory: a running \
         gateway does not apply it; look at what it says, then sudo chown {us} {path}"
    )
}

/// Says what holds while the file is broken or gone; `None` where it is neither, or was never there.
fn state_line(found: &FileState, last: bool, paths: &Paths) -> Option<String> {
    let until = match last {
        true => "until it is fixed, the gateway keeps what it ran with last, and writes nothing to it",
        false => {
            "until it is fixed, the gateway listens on loopback, serves paired devices only, and writes nothing to it"
        }
    };
    match found {
        FileState::Broken(error) => Some(format!("{error}; {until}")),
        FileState::Missing if last => Some(format!("{} is gone; {until}", paths.config_file.display())),
        FileState::Missing | FileState::Whole => None,
    }
}

impl Settings {
    /// The notice of a file that is broken or gone.
    pub(crate) fn state_notice(&self) -> Option<String> {
        state_line(&self.found, self.last, &self.paths)
    }
}

/// Says what the state of the file means, and stops where it means another host.
pub(super) fn guard(
    found: &FileState,
    last: bool,
    config: &GatewayConfig,
    flags: &Flags,
    paths: &Paths,
    notices: &mut Vec<String>,
) -> Result<(), StartError> {
    let path = paths.config_file.display();
    match found {
        FileState::Broken(_) | FileState::Missing => notices.extend(state_line(found, last, paths)),
        FileState::Whole => match config.mode {
            Some(Mode::Local) => {}
            Some(Mode::Remote) if !flags.allow_unconfigured => {
                return Err(StartError::Remote(paths.config_file.clone()));
            }
            Some(Mode::Remote) => {
                notices
                    .push(format!("gateway.mode is \"remote\" in {path}: clients here call another gateway"));
            }
            None if flags.allow_unconfigured => {}
            None => notices.push(format!(
                "gateway.mode is not set in {path}; OpenClaw would not start so: set it to \"local\""
            )),
        },
    }
    Ok(())
}

pub(super) fn handshake_timeout(env: &Env, config: &GatewayConfig, notices: &mut Vec<String>) -> Duration {
    const NAME: &str = "OPENCLAW_HANDSHAKE_TIMEOUT_MS";
    let text = env.get(NAME);
    let range = keys::range("gateway.handshakeTimeoutMs");
    let parsed = text.and_then(|text| text.parse().ok()).filter(|ms| range.contains(ms));
    if let (Some(text), None) = (text, parsed) {
        let (min, max) = range.into_inner();
        notices.push(format!("{NAME}={text:?} is no number from {min} to {max} and counts as unset"));
    }
    parsed.map(Duration::from_millis).or(config.handshake_timeout).unwrap_or(DEFAULT_HANDSHAKE_TIMEOUT)
}
