//! The gateway behind this one, where there is one: what this gateway does not do itself is asked there.

pub(crate) mod http;
