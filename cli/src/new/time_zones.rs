//! The time zones of countries that have only one.

/// Countries whose mainland and islands share one zone of the tz database, by ISO 3166-1 alpha-2.
/// Source: its table `zone1970.tab`.
static ONLY_ZONES: [(&str, &str); 36] = [
    ("AE", "Asia/Dubai"),
    ("AT", "Europe/Vienna"),
    ("BE", "Europe/Brussels"),
    ("BG", "Europe/Sofia"),
    ("CH", "Europe/Zurich"),
    ("CO", "America/Bogota"),
    ("CZ", "Europe/Prague"),
    ("DE", "Europe/Berlin"),
    ("DK", "Europe/Copenhagen"),
    ("EG", "Africa/Cairo"),
    ("FI", "Europe/Helsinki"),
    ("FR", "Europe/Paris"),
    ("GB", "Europe/London"),
    ("GR", "Europe/Athens"),
    ("HU", "Europe/Budapest"),
    ("IE", "Europe/Dublin"),
    ("IL", "Asia/Jerusalem"),
    ("IN", "Asia/Kolkata"),
    ("IT", "Europe/Rome"),
    ("JO", "Asia/Amman"),
    ("JP", "Asia/Tokyo"),
    ("LB", "Asia/Beirut"),
    ("LU", "Europe/Luxembourg"),
    ("MA", "Africa/Casablanca"),
    ("NL", "Europe/Amsterdam"),
    ("NO", "Europe/Oslo"),
    ("PE", "America/Lima"),
    ("PL", "Europe/Warsaw"),
    ("RO", "Europe/Bucharest"),
    ("SA", "Asia/Riyadh"),
    ("SE", "Europe/Stockholm"),
    ("SG", "Asia/Singapore"),
    ("TR", "Europe/Istanbul"),
    ("UY", "America/Montevideo"),
    ("VE", "America/Caracas"),
    ("ZA", "Africa/Johannesburg"),
];

/// The time zone of a country with one zone, if it is in the table.
pub(super) fn only_zone_of(country: &str) -> Option<&'static str> {
    ONLY_ZONES.iter().find(|(code, _)| *code == country).map(|(_, zone)| *zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_exists_and_a_country_with_several_zones_has_none() {
        for (country, zone) in ONLY_ZONES {
            assert!(jiff::tz::TimeZone::get(zone).is_ok(), "{country}: {zone}");
        }
        assert_eq!(only_zone_of("US"), None);
        assert_eq!(only_zone_of("IL"), Some("Asia/Jerusalem"));
    }
}
