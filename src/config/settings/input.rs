//! Settings resolved again, for a gateway that runs.

use crate::config::{Env, Flags, Settings, StartError};

/// What settings are resolved from, to resolve them again when a file has changed.
#[derive(Clone)]
pub struct SettingsInput {
    pub(crate) process: Env,
    pub(crate) flags: Flags,
}

impl SettingsInput {
    /// The settings as the files have them now. They are for a gateway that runs: no token is made up for
    /// it, and `gateway.mode: "remote"` does not stop it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn resolve(&self) -> Result<Settings, StartError> {
        self.resolve_with(None)
    }

    /// As [`resolve`](Self::resolve), with `instead` for the text of `openclaw.json`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn resolve_with(&self, instead: Option<&str>) -> Result<Settings, StartError> {
        let flags = Flags { allow_unconfigured: true, ..self.flags.clone() };
        let mut settings = Settings::resolve_with(&self.process, &flags, instead)?;
        settings.again = self.clone();
        if std::mem::take(&mut settings.wants_token) {
            settings.notices.push(format!(
                "there is no shared token any more, so paired devices only: set gateway.auth.token in {}",
                settings.paths.config_file.display()
            ));
            settings.close_what_is_open();
        }
        Ok(settings)
    }
}

impl Settings {
    /// Where one of the keys that say where to listen makes no sense, stays where `old` listens; whether
    /// that is so. Clients look for the gateway where it was, not at a default.
    pub fn keep_where_it_listens(&mut self, old: &Self) -> bool {
        let mut kept = false;
        for error in self.errors.iter_mut().filter(|error| error.is_of_listening()) {
            error.keep();
            kept = true;
        }
        if kept {
            (self.port, self.bind) = (old.port, old.bind);
        }
        kept
    }
}
