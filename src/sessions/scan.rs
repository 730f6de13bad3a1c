//! Lines of a file, from its end or from anywhere in it, in memory for one line and one chunk.

use super::line::LONGEST;
use std::{fs::File, io, ops::ControlFlow, os::unix::fs::FileExt};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Visits the lines that end at `end` or before it, the last one first: offset, and the bytes without the newline, which
/// are none where the line is longer than [`LONGEST`]. `end` is just after a newline.
///
/// # Errors
/// The system's.
pub(super) fn backward(
    file: &File,
    end: u64,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let Some(mut at) = end.checked_sub(1) else { return Ok(()) };
    // The part of the current line that was read.
    let mut held = Vec::new();
    let mut too_long = false;
    let mut chunk = vec![0; CHUNK];
    loop {
        let start = at.saturating_sub(CHUNK as u64);
        let chunk = &mut chunk[..(at - start) as usize];
        file.read_exact_at(chunk, start)?;
        let mut right = chunk.len();
        while let Some(newline) = chunk[..right].iter().rposition(|b| *b == b'\n') {
            let first = &chunk[newline + 1..right];
            right = newline;
            let flow = match (too_long, held.is_empty()) {
                (true, _) => visit(start + newline as u64 + 1, &[]),
                (_, true) => visit(start + newline as u64 + 1, first),
                _ => {
                    held.splice(..0, first.iter().copied());
                    visit(start + newline as u64 + 1, &held)
                }
            };
            if flow.is_break() {
                return Ok(());
            }
            held.clear();
            too_long = false;
        }
        if held.len() + right > LONGEST {
            (held, too_long) = (Vec::new(), true);
        }
        if !too_long {
            held.splice(..0, chunk[..right].iter().copied());
        }
        at = start;
        if at == 0 {
            let _ = visit(0, if too_long { &[] } else { &held });
            return Ok(());
        }
    }
}

/// The first line that begins after `at` and before `end`: its offset, and its bytes without the newline. `None` where
/// there is none, or it is too long.
///
/// # Errors
/// The system's.
pub(super) fn first_after(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let Some(start) = newline_from(file, at, end)?.map(|newline| newline + 1).filter(|start| *start < end)
    else {
        return Ok(None);
    };
    let Some(newline) = newline_from(file, start, end.min(start + LONGEST as u64))? else { return Ok(None) };
    let mut line = vec![0; (newline - start) as usize];
    file.read_exact_at(&mut line, start)?;
    Ok(Some((start, line)))
}

/// The first newline at `at` or after it, and before `end`.
fn newline_from(file: &File, mut at: u64, end: u64) -> io::Result<Option<u64>> {
    let mut chunk = vec![0; CHUNK];
    while at < end {
        let chunk = &mut chunk[..(end - at).min(CHUNK as u64) as usize];
        file.read_exact_at(chunk, at)?;
        if let Some(found) = chunk.iter().position(|b| *b == b'\n') {
            return Ok(Some(at + found as u64));
        }
        at += chunk.len() as u64;
    }
    Ok(None)
}

/// The end of the last whole line of a file of `length` bytes.
///
/// # Errors
/// The system's.
pub(super) fn last_newline(file: &File, length: u64) -> io::Result<u64> {
    let mut at = length;
    let mut chunk = vec![0; CHUNK];
    while at > 0 {
        let start = at.saturating_sub(CHUNK as u64);
        let chunk = &mut chunk[..(at - start) as usize];
        file.read_exact_at(chunk, start)?;
        if let Some(found) = chunk.iter().rposition(|b| *b == b'\n') {
            return Ok(start + found as u64 + 1);
        }
        at = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("barnacle-scan-{}-{:p}", std::process::id(), text));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all(text).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn lines_are_the_same_in_both_directions() {
        for lengths in
            [&[0, 1, 2][..], &[CHUNK - 1, CHUNK, CHUNK + 1, 3], &[3 * CHUNK, 0, 5], &[LONGEST + 7, 9]]
        {
            let lines: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(n, length)| vec![b'a' + n as u8; *length]).collect();
            let text: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
            let file = file(&text);
            let mut found = Vec::new();
            backward(&file, text.len() as u64, |at, line| {
                found.push((at, line.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
            found.reverse();
            let mut at = 0;
            assert_eq!(found.len(), lines.len());
            for ((offset, line), expected) in found.iter().zip(&lines) {
                let expected = if expected.len() > LONGEST { &[][..] } else { expected };
                assert!(*offset == at && line == expected, "at {at}: {} bytes", line.len());
                at += lines.iter().find(|l| l.first() == expected.first()).map_or(0, Vec::len) as u64 + 1;
                if expected.is_empty() {
                    // A line of that length is not found by its content.
                    break;
                }
            }
            let first = first_after(&file, 0, text.len() as u64).unwrap();
            assert_eq!(first, Some((lengths[0] as u64 + 1, lines[1].clone())));
        }
    }

    #[test]
    fn what_comes_after_the_last_newline_is_no_line() {
        for (text, end) in [("", 0), ("a", 0), ("a\n", 2), ("a\nb", 2), ("\n\0\0", 1)] {
            assert_eq!(last_newline(&file(text.as_bytes()), text.len() as u64).unwrap(), end, "{text:?}");
        }
        let long = vec![b'x'; 2 * CHUNK + 5];
        assert_eq!(last_newline(&file(&long), long.len() as u64).unwrap(), 0);
    }
}
