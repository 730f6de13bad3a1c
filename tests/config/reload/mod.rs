//! A configuration that is edited while clients are attached: what changes, and who is closed.
//!
//! Twenty connections of every kind stay attached through every edit that the new configuration allows
//! them; how many are closed is counted, and held against what the plan says.

mod connections;
mod edits;
mod files;
mod json5;
mod storm;
