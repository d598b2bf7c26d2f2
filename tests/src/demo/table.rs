//! Tables for a terminal.

/// Prints rows under their titles, every column as wide as its widest cell.
pub(super) fn print<const N: usize>(titles: [&str; N], rows: &[[String; N]]) {
    let mut widths = titles.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                // The first column is a name, the others are numbers.
                if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        println!("  {}", padded.join("  "));
    };
    line(titles);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}

/// Writes a number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{} MB", count / 1_000_000),
    }
}
