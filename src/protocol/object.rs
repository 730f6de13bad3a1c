//! JSON objects that are written field by field, and objects that are read by the names of their fields.

use super::{Json, Params, params::Texts};
use nanoserde::{SerJson, SerJsonState};

/// An object that is being written.
pub struct Object(SerJsonState);

impl Object {
    /// An object without fields.
    pub fn new() -> Self {
        Self(SerJsonState::new(String::from("{")))
    }

    /// Adds a field.
    #[must_use]
    pub fn put(mut self, name: &str, value: &(impl SerJson + ?Sized)) -> Self {
        if self.0.out.len() > 1 {
            self.0.out.push(',');
        }
        self.0.out.push('"');
        self.0.out.push_str(name);
        self.0.out.push_str("\":");
        value.ser_json(0, &mut self.0);
        self
    }

    /// Adds a field, if there is a value.
    #[must_use]
    pub fn opt(self, name: &str, value: Option<&(impl SerJson + ?Sized)>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Returns the finished JSON.
    pub fn json(mut self) -> Json {
        self.0.out.push('}');
        Json(self.0.out)
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

/// An object that is no request's, with its fields to be read by name.
pub struct Readable {
    name: String,
    text: String,
    texts: Texts,
}

impl Readable {
    /// The object `json`, which errors call by `name`. What is no object has no fields.
    pub fn new(name: &str, json: Json) -> Self {
        Self { name: name.to_owned(), text: json.0.trim().to_owned(), texts: Texts::default() }
    }

    /// Its fields.
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.name, &self.text, &self.texts)
    }
}
