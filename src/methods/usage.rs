//! `usage.cost` and `sessions.usage`: the tokens that models counted, by day, model and session.
//!
//! They stand in the transcripts, which are read when somebody asks; nothing is counted beside them. What a token costs
//! is not known here, so every cost is 0 and every answer of a model is one whose cost is missing.
//!
//! Shapes as OpenClaw 2026.9.6 answers.

use super::{Access, Answer, Call, Method, Repeat, shape::Object};
use crate::{
    agents::budget::{ends, percent},
    app::App,
    clock::{timestamp, wall_ms},
    protocol::{ErrorShape, Json, Params, Scope, json},
    sessions::{Entry, Query, SessionId, SessionKey, Transcript},
};
use std::{collections::BTreeMap, ops::AddAssign, ops::ControlFlow, rc::Rc};

const READ: Access = Access::Operator(Scope::Read);

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::waits("usage.status", READ, Repeat::Harmless, |c| Box::pin(status(c))),
    Method::waits("usage.cost", READ, Repeat::Harmless, |c| Box::pin(cost(c))),
    Method::waits("sessions.usage", READ, Repeat::Harmless, |c| Box::pin(sessions(c))),
];

const DAY_MS: u64 = 86_400_000;
/// Days that are looked at where the request names none, and the most.
const DAYS: u64 = 30;
const MOST_DAYS: u64 = 366;
/// Most sessions whose transcripts are read, the last changed first.
const MOST: usize = 1000;

/// Days that are looked at, each as `2026-11-30`, so that they compare as texts.
struct Span {
    start: String,
    end: String,
    /// What is added to a time for the day that it is in.
    offset_ms: i64,
    now: u64,
}

impl Span {
    fn of(params: &Params<'_>) -> Result<Self, ErrorShape> {
        let days = match (params.opt_u64("days")?, params.opt_str("range")?) {
            (Some(days), _) => days,
            (None, Some("7d")) => 7,
            (None, Some("90d")) => 90,
            (None, Some("1y" | "all")) => MOST_DAYS,
            _ => DAYS,
        };
        let now = wall_ms();
        let offset_ms = params.opt_str("utcOffset")?.map_or(0, offset_ms);
        let mut span = Self { start: String::new(), end: String::new(), offset_ms, now };
        let of_days = span.day(now.saturating_sub((days.clamp(1, MOST_DAYS) - 1) * DAY_MS));
        span.start = params.opt_str("startDate")?.map_or(of_days, str::to_owned);
        span.end = params.opt_str("endDate")?.map_or_else(|| span.day(now), str::to_owned);
        Ok(span)
    }

    /// The day that a time is in.
    fn day(&self, ms: u64) -> String {
        timestamp(ms.saturating_add_signed(self.offset_ms))[..10].to_owned()
    }

    /// Every day of it, the first one first.
    fn days(&self) -> Vec<String> {
        let back = (0..MOST_DAYS).rev().map(|n| self.day(self.now.saturating_sub(n * DAY_MS)));
        back.filter(|day| (&self.start..=&self.end).contains(&day)).collect()
    }
}

/// Milliseconds of `UTC+5:30`; 0 where it is something else.
fn offset_ms(text: &str) -> i64 {
    let read = || {
        let (sign, rest) = match text.strip_prefix("UTC")?.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
        let minutes = hours.parse::<i64>().ok()?.min(14) * 60 + minutes.parse::<i64>().ok()?.min(59);
        Some(sign * minutes * 60_000)
    };
    read().unwrap_or(0)
}

/// Tokens of some answers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Tokens {
    input: u64,
    output: u64,
    read: u64,
    written: u64,
    answers: u64,
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.read += other.read;
        self.written += other.written;
        self.answers += other.answers;
    }
}

impl Tokens {
    fn total(self) -> u64 {
        self.input + self.output + self.read + self.written
    }

    /// Adds them to an object.
    fn put(self, object: Object) -> Object {
        let counts = object
            .put("input", &self.input)
            .put("output", &self.output)
            .put("cacheRead", &self.read)
            .put("cacheWrite", &self.written)
            .put("totalTokens", &self.total());
        let costs = ["totalCost", "inputCost", "outputCost", "cacheReadCost", "cacheWriteCost"];
        let priced = costs.iter().fold(counts, |object, name| object.put(name, &0_u64));
        priced.put("missingCostEntries", &self.answers)
    }

    fn json(self) -> Json {
        self.put(Object::new()).json()
    }
}

/// Messages, by who said them.
#[derive(Clone, Copy, Default)]
struct Messages {
    user: u64,
    assistant: u64,
    errors: u64,
}

impl Messages {
    fn json(self) -> Json {
        Object::new()
            .put("total", &(self.user + self.assistant))
            .put("user", &self.user)
            .put("assistant", &self.assistant)
            .put("toolCalls", &0_u64)
            .put("toolResults", &0_u64)
            .put("errors", &self.errors)
            .json()
    }
}

/// What was used of models, in one session or more.
#[derive(Clone, Default)]
struct Used {
    tokens: Tokens,
    days: BTreeMap<String, (Tokens, u64)>,
    models: BTreeMap<(String, String), Tokens>,
    messages: Messages,
    /// Times of the first and the last message.
    times: Option<(u64, u64)>,
}

impl Used {
    /// Takes a message that was said at `ms`, on `day`.
    fn take(&mut self, message: &str, ms: u64, day: String) {
        let member = |object: &'_ str, wanted: &str| {
            json::members(object).find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
        };
        let text = |wanted: &str| {
            let value = member(message, wanted)?;
            Some(json::unescape(value.strip_prefix('"')?.strip_suffix('"')?).into_owned())
        };
        let (first, last) = self.times.unwrap_or((ms, ms));
        self.times = Some((first.min(ms), last.max(ms)));
        let on_day = self.days.entry(day).or_default();
        on_day.1 += 1;
        match text("role").as_deref() {
            Some("user") => self.messages.user += 1,
            Some("assistant") => self.messages.assistant += 1,
            _ => {}
        }
        self.messages.errors += u64::from(text("stopReason").as_deref() == Some("error"));
        let Some(usage) = member(message, "usage") else { return };
        let count = |name: &str| member(&usage, name).and_then(|n| n.parse().ok()).unwrap_or(0);
        let tokens = Tokens {
            input: count("input"),
            output: count("output"),
            read: count("cacheRead"),
            written: count("cacheWrite"),
            answers: 1,
        };
        self.tokens += tokens;
        on_day.0 += tokens;
        let model = (text("provider").unwrap_or_default(), text("model").unwrap_or_default());
        *self.models.entry(model).or_default() += tokens;
    }

    fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        for (day, (tokens, messages)) in &other.days {
            let on_day = self.days.entry(day.clone()).or_default();
            on_day.0 += *tokens;
            on_day.1 += messages;
        }
        for (model, tokens) in &other.models {
            *self.models.entry(model.clone()).or_default() += *tokens;
        }
        let (all, more) = (&mut self.messages, other.messages);
        (all.user, all.assistant, all.errors) =
            (all.user + more.user, all.assistant + more.assistant, all.errors + more.errors);
    }

    /// The models, each with its tokens.
    fn models(&self) -> Vec<Json> {
        let row = |((provider, model), tokens): (&(String, String), &Tokens)| {
            let object = Object::new().put("provider", provider).put("model", model);
            object.put("count", &tokens.answers).put("totals", &tokens.json()).json()
        };
        self.models.iter().map(row).collect()
    }
}

/// Reads what was used in a session within `span`.
async fn used(app: &Rc<App>, key: &SessionKey, id: &SessionId, span: &Rc<Span>) -> Result<Used, ErrorShape> {
    let span = Span { start: span.start.clone(), end: span.end.clone(), ..**span };
    let read = move |transcript: Option<Transcript>| {
        let mut used = Used::default();
        let Some(transcript) = transcript else { return Ok(used) };
        transcript.entries(transcript.last(), |entry: &Entry<'_>| {
            let Some(message) = entry.message else { return ControlFlow::Continue(()) };
            let time = json::members(message).find(|(name, _)| *name == "timestamp").map(|(_, value)| value);
            let Some(ms) = time.and_then(|time| time.parse().ok()) else { return ControlFlow::Continue(()) };
            let day = span.day(ms);
            if day < span.start {
                return ControlFlow::Break(());
            }
            if day <= span.end {
                used.take(message, ms, day);
            }
            ControlFlow::Continue(())
        })?;
        Ok(used)
    };
    app.sessions.read(key, id, read).await
}

/// The sessions that a request means, and what was used in each.
async fn found(
    call: &Call,
    span: &Rc<Span>,
    limit: usize,
) -> Result<Vec<(SessionKey, String, u64, Used)>, ErrorShape> {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let agent = params.opt_str("agentId")?.map(str::to_lowercase);
    let only = match params.value("key") {
        Some(_) => Some(super::sessions::key(call, &params, "key")?),
        None => None,
    };
    let rows: Vec<(SessionKey, SessionId, u64)> = call.app.sessions.index().map_or(Vec::new(), |index| {
        let query = Query { agent: agent.as_deref(), global: true, unknown: true, limit, ..Query::default() };
        let (found, _) = index.list(&query);
        let found = found.into_iter().filter(|(key, _)| only.as_ref().is_none_or(|only| only == key));
        found.map(|(key, row)| (key, row.id, row.times.updated)).collect()
    });
    let mut all = Vec::new();
    for (key, id, updated) in rows {
        // Nothing was said since.
        if span.day(updated) >= span.start {
            let used = used(&call.app, &key, &id, span).await?;
            all.push((key, id.to_string(), updated, used));
        }
    }
    Ok(all)
}

/// Counts what was used today before this start, once.
pub(super) async fn count_past(app: &Rc<App>) {
    let now = wall_ms();
    // It is asked for once, so what it is read from has to be there before.
    if app.sessions.ready().await.is_err() || !app.runs.spending.wants_past(now) {
        return;
    }
    let mut span = Span { start: String::new(), end: String::new(), offset_ms: 0, now };
    span.start = span.day(now);
    span.end.clone_from(&span.start);
    let span = Rc::new(span);
    let midnight = ends(now) - DAY_MS;
    let rows: Vec<(SessionKey, SessionId)> = app.sessions.index().map_or(Vec::new(), |index| {
        let query = Query { global: true, unknown: true, limit: MOST, ..Query::default() };
        let (found, _) = index.list(&query);
        let today = found.into_iter().filter(|(_, row)| row.times.updated >= midnight);
        today.map(|(key, row)| (key, row.id)).collect()
    });
    for (key, id) in rows {
        match used(app, &key, &id, &span).await {
            Ok(used) => app.runs.spending.add(key.agent(), used.tokens.total(), now),
            Err(why) => log::warn!("{}: its tokens of today are not counted: {}", key.wire(), why.message()),
        }
    }
}

/// `usage.status`: what is used of the budgets for today. What a model's server allows is not known here.
async fn status(call: Call) -> Answer {
    count_past(&call.app).await;
    let now = wall_ms();
    let settings = call.app.settings();
    let (budget, spending) = (settings.own.budget(), &call.app.runs.spending);
    let window = |label: &str, used: u64, limit: u64| {
        let object = Object::new().put("label", label).put("usedPercent", &percent(used, limit));
        object.put("resetAt", &ends(now)).json()
    };
    let agents = &settings.config.agents.ids;
    let all = spending.used("", now).all;
    let mut windows = Vec::new();
    if budget.day > 0 {
        windows.push(window(&format!("today, {all} of {} tokens", budget.day), all, budget.day));
    }
    for agent in agents.iter().filter(|_| budget.agent > 0) {
        let used = spending.used(agent, now).agent;
        windows.push(window(
            &format!("{agent} today, {used} of {} tokens", budget.agent),
            used,
            budget.agent,
        ));
    }
    let provider =
        Object::new().put("provider", "barnacle").put("displayName", "Budget").put("windows", &windows);
    let providers: Vec<Json> = (!windows.is_empty()).then(|| provider.json()).into_iter().collect();
    Ok(Object::new().put("updatedAt", &now).put("providers", &providers).json().into())
}

/// `usage.cost`.
async fn cost(call: Call) -> Answer {
    let span = Rc::new(Span::of(&call.params()?)?);
    let mut all = Used::default();
    found(&call, &span, MOST).await?.iter().for_each(|(_, _, _, used)| all.add(used));
    let days = span.days();
    let day = |day: &String| {
        let tokens = all.days.get(day).map(|(tokens, _)| *tokens).unwrap_or_default();
        tokens.put(Object::new().put("date", day)).json()
    };
    Ok(Object::new()
        .put("updatedAt", &span.now)
        .put("days", &(days.len() as u64))
        .put("daily", &days.iter().map(day).collect::<Vec<_>>())
        .put("totals", &all.tokens.json())
        .json()
        .into())
}

/// `sessions.usage`.
async fn sessions(call: Call) -> Answer {
    let params = call.params()?;
    let span = Rc::new(Span::of(&params)?);
    let limit = params.opt_u64("limit")?.unwrap_or(MOST as u64).clamp(1, MOST as u64) as usize;
    let found = found(&call, &span, limit).await?;
    let (mut all, mut agents) = (Used::default(), BTreeMap::<String, Tokens>::new());
    for (key, _, _, used) in &found {
        all.add(used);
        *agents.entry(key.agent().to_owned()).or_default() += used.tokens;
    }
    let none = Vec::<Json>::new();
    let agent = |(id, tokens): (&String, &Tokens)| {
        Object::new().put("agentId", id).put("totals", &tokens.json()).json()
    };
    let day = |(day, (tokens, messages)): (&String, &(Tokens, u64))| {
        Object::new()
            .put("date", day)
            .put("tokens", &tokens.total())
            .put("cost", &0_u64)
            .put("messages", messages)
            .put("toolCalls", &0_u64)
            .put("errors", &0_u64)
            .json()
    };
    let tools = Object::new().put("totalCalls", &0_u64).put("uniqueTools", &0_u64).put("tools", &none).json();
    let aggregates = Object::new()
        .put("sessionCount", &(found.len() as u64))
        .put("messages", &all.messages.json())
        .put("tools", &tools)
        .put("byModel", &all.models())
        .put("byProvider", &none)
        .put("byAgent", &agents.iter().map(agent).collect::<Vec<_>>())
        .put("byChannel", &none)
        .put("byCreator", &none)
        .put("costDaily", &none)
        .put("dailyLatency", &none)
        .put("modelDaily", &none)
        .put("daily", &all.days.iter().map(day).collect::<Vec<_>>())
        .json();
    Ok(Object::new()
        .put("updatedAt", &span.now)
        .put("startDate", &span.start)
        .put("endDate", &span.end)
        .put("sessions", &found.iter().map(session).collect::<Vec<_>>())
        .put("totals", &all.tokens.json())
        .put("aggregates", &aggregates)
        .put("creatorOptions", &none)
        .json()
        .into())
}

/// A session's row, and what was used in it; `null` where nothing was said.
fn session((key, id, updated, used): &(SessionKey, String, u64, Used)) -> Json {
    let usage = used.times.map(|(first, last)| {
        let days: Vec<&String> = used.days.keys().collect();
        let dates: Vec<String> = days.into_iter().cloned().collect();
        let day = |(day, (tokens, _)): (&String, &(Tokens, u64))| {
            Object::new().put("date", day).put("tokens", &tokens.total()).put("cost", &0_u64).json()
        };
        let object = Object::new().put("firstActivity", &first).put("lastActivity", &last);
        let object = object.put("durationMs", &(last - first)).put("activityDates", &dates);
        used.tokens
            .put(object)
            .put("dailyBreakdown", &used.days.iter().map(day).collect::<Vec<_>>())
            .put("messageCounts", &used.messages.json())
            .put("modelUsage", &used.models())
            .json()
    });
    Object::new()
        .put("key", key.wire())
        .put("sessionId", id)
        .put("updatedAt", updated)
        .put("agentId", key.agent())
        .put("usage", &usage.unwrap_or_else(Json::null))
        .put("hasContextWeight", &false)
        .json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        for (text, minutes) in [("UTC", 0), ("UTC+2", 120), ("UTC-5:30", -330), ("UTC+x", 0), ("", 0)] {
            assert_eq!(offset_ms(text), minutes * 60_000, "{text}");
        }
    }

    #[test]
    fn messages_are_counted() {
        let mut used = Used::default();
        let day = || "2026-11-30".to_owned();
        used.take(r#"{"role":"user","content":"x"}"#, 5, day());
        let answer = r#"{"role":"assistant","provider":"p","model":"m","usage":{"input":7,"output":9}}"#;
        used.take(answer, 9, day());
        used.take(r#"{"role":"assistant","stopReason":"error"}"#, 7, day());
        assert_eq!((used.tokens.total(), used.tokens.answers, used.times), (16, 1, Some((5, 9))));
        let Messages { user, assistant, errors } = used.messages;
        assert_eq!((user, assistant, errors), (1, 2, 1));
        let mut all = used.clone();
        all.add(&used);
        assert_eq!((all.tokens.total(), all.days[&day()].1, all.models.len()), (32, 6, 1));
    }
}
