//! Dates of HTTP (RFC 9110 §5.6.7).

use crate::clock::timestamp;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date at so many seconds after 1970.
pub(super) fn http_date(seconds: u64) -> String {
    let time = timestamp(seconds * 1000);
    let month = time[5..7].parse::<usize>().map_or(0, |month| month - 1);
    let day = DAYS[(seconds / 86_400 % 7) as usize];
    format!("{day}, {} {} {} {} GMT", &time[8..10], MONTHS[month], &time[..4], &time[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
