//! Text for a terminal: aligned columns, and nothing in them that a terminal would obey.

/// Rows of cells, the first with the headings.
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self(vec![headings.iter().map(|h| (*h).to_owned()).collect()])
    }

    /// Adds a row. What clients say of themselves may stand in it: control characters are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// The lines of the table, each column as wide as its widest cell.
    pub fn text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.0 {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Removes control characters from `text`.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
