//! Latency by percentile as a picture: a device's handshake at Barnacle, at OpenClaw, and its floor. Both axes
//! are logarithmic, so that the last of a thousand is as visible as the first.

use crate::table::{Cell, Column, Table};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top and bottom of the plot itself.
const EDGES: [f64; 4] = [70.0, 590.0, 70.0, 350.0];
/// Colours that tell them apart on white and on black, and without red and green.
const CURVES: [(Column, &str); 3] =
    [(Column::Barnacle, "#0a84d0"), (Column::Floor, "#8a8a8a"), (Column::OpenClaw, "#d97706")];

/// The picture; of what `table` lacks it draws nothing.
pub fn svg(table: &Table, openclaw: &str, facts: &[(&'static str, String)]) -> String {
    let rows = [("device token", ""), ("device token, each of 64 at once", "6 4")];
    let curves: Vec<(&[f64], Column, &str, &str)> = rows
        .iter()
        .filter_map(|(what, dash)| {
            Some((table.0.iter().find(|row| row.part == "handshake" && row.what == *what)?, dash))
        })
        .flat_map(|(row, dash)| {
            CURVES.iter().filter_map(move |(column, colour)| match row.cell(*column) {
                Some(Cell::Spread(sorted)) if !sorted.is_empty() => {
                    Some((&sorted[..], *column, *colour, *dash))
                }
                _ => None,
            })
        })
        .collect();
    let all = || curves.iter().flat_map(|(sorted, ..)| sorted.iter().copied());
    let low = 10f64.powf(all().fold(f64::MAX, f64::min).max(1.0).log10().floor());
    let high = 10f64.powf(all().fold(10.0, f64::max).log10().ceil()).max(low * 10.0);
    let most = curves.iter().map(|(sorted, ..)| sorted.len()).max().unwrap_or(100);
    // Half, nine of ten, 99 of a hundred: one step each to the right.
    let nines = (most as f64).log10().max(1.0);
    let [left, right, top, bottom] = EDGES;
    let x = |share: f64| left + (right - left) * (-(1.0 - share).log10() / nines).min(1.0);
    let y = |us: f64| bottom - (bottom - top) * (us / low).log10() / (high / low).log10();

    let fact = |name: &str| facts.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value);
    let place = match fact("board") {
        "unknown" => fact("CPU"),
        board => board,
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>text {{ fill: #222 }} .line {{ stroke: #8884 }} .page {{ fill: #fff }} @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .page {{ fill: #111 }} }}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text x=\"{left}\" y=\"28\" font-size=\"16\">A paired device comes back: TCP connect to hello-ok</text>\n\
         <text x=\"{left}\" y=\"48\">{}, {}</text>\n",
        escaped(fact("gateway")),
        escaped(place),
    );
    let mut power = low;
    while power <= high * 1.01 {
        let at = y(power);
        let label = if power >= 1e6 {
            format!("{} s", power / 1e6)
        } else if power >= 1e3 {
            format!("{} ms", power / 1e3)
        } else {
            format!("{power} µs")
        };
        let _ = writeln!(
            out,
            "<path class=\"line\" d=\"M{left} {at:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            left - 8.0,
            at + 4.0
        );
        power *= 10.0;
    }
    for (share, label) in
        [(0.0, "least"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")]
    {
        if -(1.0f64 - share).log10() <= nines {
            let at = x(share);
            let _ = writeln!(
                out,
                "<path class=\"line\" d=\"M{at:.1} {top}V{bottom}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.0
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">percentile of handshakes (solid: alone; dashed: 64 at once)</text>",
        (left + right) / 2.0,
        bottom + 42.0
    );
    let mut taken: Vec<f64> = Vec::new();
    for (sorted, column, colour, dash) in curves {
        let mut path = String::new();
        let mut drawn = -1.0;
        for (index, us) in sorted.iter().enumerate() {
            let at = x(index as f64 / sorted.len() as f64);
            // A point a pixel is enough.
            if at >= drawn + 1.0 || index + 1 == sorted.len() {
                let _ = write!(path, "{}{at:.1} {:.1}", if path.is_empty() { 'M' } else { 'L' }, y(*us));
                drawn = at;
            }
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>"
        );
        let name = match column {
            Column::Barnacle => "Barnacle",
            Column::Floor => "floor",
            Column::OpenClaw => openclaw,
        };
        let last = sorted.last().copied().unwrap_or_default();
        let mut at = y(last) + 4.0;
        while taken.iter().any(|other| (other - at).abs() < 14.0) {
            at += 14.0;
        }
        taken.push(at);
        let many = if dash.is_empty() { "" } else { ", 64 at once" };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{at:.1}\" style=\"fill:{colour}\">{}{many}</text>",
            x((sorted.len() - 1) as f64 / sorted.len() as f64) + 8.0,
            escaped(name)
        );
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
