//! Attaching and staying attached: who is let in, what a refusal says, and how long a session lives.

#[path = "../support/wire/mod.rs"]
mod wire;

mod attached;
mod budgets;
mod clock;
mod concurrency;
mod event_loop;
mod field_cases;
mod first_boot;
mod first_report;
mod hardening_state;
mod hostile;
mod listeners;
mod messages;
mod refusals;
mod rights;
mod session;
mod tls;
