//! The one table that all figures go into, and its forms: text, Markdown, JSON.

use crate::rig::{Failure, quantile, us};
use nanoserde::SerJson;
use std::time::Duration;

/// Whose figure it is.
#[derive(Clone, Copy, PartialEq)]
pub enum Column {
    Barnacle,
    /// What the exchange costs without any gateway.
    Floor,
    OpenClaw,
}

/// One figure, in its row's unit.
pub enum Cell {
    /// Sorted.
    Spread(Vec<f64>),
    One(f64),
    /// Why there is none.
    Missing(String),
}

impl Cell {
    /// Of times, in microseconds.
    pub fn times(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self::Spread(times.into_iter().map(us).collect())
    }

    /// The value below which `share` lie.
    pub fn at(&self, share: f64) -> Option<f64> {
        match self {
            Self::Spread(sorted) if !sorted.is_empty() => Some(quantile(sorted, share)),
            Self::One(value) => Some(*value),
            _ => None,
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Spread(_) => {
                let one = |(name, share)| format!("\"{name}\":{}", self.at(share).unwrap_or_default());
                format!("{{{}}}", SHARES.map(one).join(","))
            }
            Self::One(value) => value.to_string(),
            Self::Missing(why) => why.serialize_json(),
        }
    }
}

/// The percentiles of a spread.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

/// A row: what is measured, in which unit, of whom.
pub struct Row {
    /// The part of the program that takes it: `--only <part>` repeats it.
    pub part: &'static str,
    pub what: String,
    unit: &'static str,
    cells: [Option<Cell>; 3],
}

impl Row {
    pub fn cell(&self, column: Column) -> Option<&Cell> {
        self.cells[column as usize].as_ref()
    }
}

/// All rows, in the order in which they were first measured.
#[derive(Default)]
pub struct Table(pub Vec<Row>);

impl Table {
    /// Enters a figure, or why there is none.
    pub fn put(
        &mut self,
        part: &'static str,
        what: &str,
        unit: &'static str,
        column: Column,
        cell: Result<Cell, Failure>,
    ) {
        let cell = cell.unwrap_or_else(|why| Cell::Missing(reason(&why.to_string())));
        let found = self.0.iter().position(|row| row.part == part && row.what == what);
        let index = found.unwrap_or_else(|| {
            let end = self.0.iter().rposition(|row| row.part == part).map_or(self.0.len(), |last| last + 1);
            self.0.insert(end, Row { part, what: what.into(), unit, cells: [None, None, None] });
            end
        });
        self.0[index].cells[column as usize] = Some(cell);
    }

    /// The rows that lack Barnacle's figure, though it ran.
    pub fn incomplete(&self) -> Vec<String> {
        let missing = |row: &Row| match row.cell(Column::Barnacle) {
            Some(Cell::Missing(why)) => Some(format!("{}: {why}", row.what)),
            Some(cell) if cell.at(0.5).is_none_or(|value| !value.is_finite()) => {
                Some(format!("{}: no figure", row.what))
            }
            _ => None,
        };
        self.0.iter().filter_map(missing).collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{:46}{:>9}{:>10}{:>10}{:>10}{:>10}{:>11}{:>8}{:>13}{:>11}\n",
            "", "", "p50", "p90", "p99", "max", "floor p50", "ratio", "OpenClaw p50", "its p99"
        );
        let mut part = "";
        for row in &self.0 {
            if row.part != part {
                part = row.part;
                out += &format!("\n--only {part}\n");
            }
            let mine = row.cell(Column::Barnacle);
            let shares = match mine {
                Some(Cell::Missing(why)) => format!("  {why:<38.38}"),
                Some(cell @ Cell::Spread(_)) => {
                    SHARES.map(|(_, share)| format!("{:>10}", number(cell.at(share)))).concat()
                }
                cell => format!("{:>10}{:30}", number(cell.and_then(|c| c.at(0.5))), ""),
            };
            let floor = row.cell(Column::Floor).and_then(|c| c.at(0.5));
            let ratio = row.ratio().map(|r| format!("{r:.2}")).unwrap_or_default();
            let theirs = match row.cell(Column::OpenClaw) {
                Some(Cell::Missing(why)) => format!("  {why:.60}"),
                Some(cell @ Cell::Spread(_)) => {
                    format!("{:>13}{:>11}", number(cell.at(0.5)), number(cell.at(0.99)))
                }
                cell => format!("{:>13}", number(cell.and_then(|c| c.at(0.5)))),
            };
            let line =
                format!("{:46}{:>9}{shares}{:>11}{ratio:>8}{theirs}", row.what, row.unit, number(floor));
            out += line.trim_end();
            out.push('\n');
        }
        out
    }

    /// For the README.
    pub fn markdown(&self, openclaw: &str) -> String {
        let mut out = format!(
            "| what | | Barnacle p50 | p90 | p99 | max | floor | ratio | {openclaw} p50 | its p99 | `--only` |\n\
             | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --- |\n"
        );
        for row in &self.0 {
            let mine = row.cell(Column::Barnacle);
            let shares = match mine {
                Some(Cell::Missing(why)) => format!("{} | | |", reason(why)),
                Some(cell @ Cell::Spread(_)) => SHARES.map(|(_, s)| number(cell.at(s))).join(" | "),
                cell => format!("{} | | |", number(cell.and_then(|c| c.at(0.5)))),
            };
            let floor = number(row.cell(Column::Floor).and_then(|c| c.at(0.5)));
            let ratio = row.ratio().map(|r| format!("{r:.2}")).unwrap_or_default();
            let theirs = match row.cell(Column::OpenClaw) {
                Some(Cell::Missing(why)) => format!("{why:.60} |"),
                Some(cell @ Cell::Spread(_)) => {
                    format!("{} | {}", number(cell.at(0.5)), number(cell.at(0.99)))
                }
                cell => format!("{} |", number(cell.and_then(|c| c.at(0.5)))),
            };
            let (what, unit, part) = (&row.what, row.unit, row.part);
            out += &format!("| {what} | {unit} | {shares} | {floor} | {ratio} | {theirs} | `{part}` |\n");
        }
        out
    }

    /// For whoever compares runs.
    pub fn json(&self) -> String {
        let columns =
            [("barnacle", Column::Barnacle), ("floor", Column::Floor), ("openclaw", Column::OpenClaw)];
        let rows = self.0.iter().map(|row| {
            let (part, what, unit) = (row.part, row.what.serialize_json(), row.unit);
            let mut line = format!(r#"{{"part":"{part}","what":{what},"unit":"{unit}""#);
            for (name, column) in columns {
                if let Some(cell) = row.cell(column) {
                    line += &format!(",\"{name}\":{}", cell.json());
                }
            }
            line + "}"
        });
        format!("[\n{}\n]", rows.collect::<Vec<_>>().join(",\n"))
    }
}

impl Row {
    /// Barnacle's median over the floor's.
    fn ratio(&self) -> Option<f64> {
        let of = |column| self.cell(column).and_then(|c| c.at(0.5));
        Some(of(Column::Barnacle)? / of(Column::Floor)?)
    }
}

/// The first line of a failure, without what would break a table; of a refusal its code.
fn reason(why: &str) -> String {
    if let Some(code) = crate::rig::field(why, "\"details\":{\"code\":\"") {
        return format!("refused: {code}");
    }
    why.lines().next().unwrap_or_default().replace('|', "/").chars().take(60).collect()
}

/// Three figures of it, and never an exponent.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(v) if v == 0.0 || v.abs() >= 100.0 => {
            let digits = format!("{v:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|chunk| std::str::from_utf8(chunk).unwrap_or_default())
                .collect();
            groups.join(",")
        }
        Some(v) if v.abs() >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}
