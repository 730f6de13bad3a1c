//! The settings that the gateway runs with now.

use super::Settings;
use crate::journal::Journal;
use std::{cell::RefCell, rc::Rc};

/// Holds the settings in use, which a reload replaces as a whole.
pub struct Running {
    settings: RefCell<Rc<Settings>>,
    journal: &'static Journal,
}

impl Running {
    /// Runs with `settings`; their log levels become those of `journal`.
    pub(crate) fn new(settings: Settings, journal: &'static Journal) -> Rc<Self> {
        journal.set_levels(settings.levels());
        Rc::new(Self { settings: RefCell::new(Rc::new(settings)), journal })
    }

    pub(crate) fn get(&self) -> Rc<Settings> {
        self.settings.borrow().clone()
    }

    /// Replaces the settings in use.
    pub(crate) fn set(&self, settings: Settings) {
        self.journal.set_levels(settings.levels());
        *self.settings.borrow_mut() = Rc::new(settings);
    }
}
