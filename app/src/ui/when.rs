//! Owns: how a moment looks: in the zone of the account, `23 Nov 2026, 14:05`, with the exact one on hover.

use domain::time::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;
use leptos::prelude::*;

/// A moment to the minute.
#[component]
pub fn When(at: Timestamp, zone: String) -> impl IntoView {
    let there = in_zone(at, &zone);
    let exact = there.timestamp().to_string();
    view! {
        <time class="whitespace-nowrap" datetime=exact.clone() title=exact>
            {there.strftime("%-d %b %Y, %H:%M").to_string()}
        </time>
    }
}

/// The zones one can choose, by name; `chosen` is among them.
pub fn zones(chosen: &str) -> Vec<String> {
    let mut zones: Vec<String> = jiff::tz::db()
        .available()
        .map(|zone| zone.to_string())
        .filter(|zone| {
            zone == "UTC" || (zone.contains('/') && !zone.starts_with("Etc/") && !zone.starts_with("posix/"))
        })
        .collect();
    zones.push(chosen.to_owned());
    zones.sort_unstable();
    zones.dedup();
    zones
}

/// A moment in a zone; a zone nobody knows counts as UTC.
pub fn in_zone(at: Timestamp, zone: &str) -> Zoned {
    let moment = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_the_zone_of_the_account() {
        let at = Timestamp::from_seconds(1_795_521_900);
        let text = |zone: &str| in_zone(at, zone).strftime("%-d %b %Y, %H:%M").to_string();
        assert_eq!(text("UTC"), "24 Nov 2026, 12:05");
        assert_eq!(text("Europe/Vienna"), "24 Nov 2026, 13:05");
        assert_eq!(text("Nowhere/Nothing"), "24 Nov 2026, 12:05");
    }
}
