//! The evidence as documents: HTML and Markdown for people, JSON for programs.

use minijinja::{
    Environment, HtmlEscape,
    value::{Serde, Value},
};
use serde::Serialize;
use tellonce_ops::{EvidenceArea, EvidenceCheck, EvidenceResult, ScanCost};

use crate::people_time::PeopleTime;

/// All of the evidence. It is the JSON document.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EvidenceDocument {
    /// The client's id.
    pub(super) client: String,
    /// The client's name.
    pub(super) name: String,
    /// When it was made.
    pub(super) made_at: jiff::Timestamp,
    /// The version of tellonce.
    pub(super) tellonce: &'static str,
    /// Whether it is of a stack in an account: else it shows nothing of one.
    pub(super) is_account: bool,
    /// The commit of the client's files.
    pub(super) commit: Option<String>,
    pub(super) areas: Vec<EvidenceArea>,
    pub(super) ledger: ScanCost,
    pub(super) line_events: ScanCost,
}

/// The values of the templates.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    made_at: String,
    time_zone: &'a str,
    tellonce: &'a str,
    stack: &'a str,
    commit: &'a Option<String>,
    areas: Vec<PageArea<'a>>,
    reads: String,
    key_id: &'a str,
}

#[derive(Serialize)]
struct PageArea<'a> {
    name: &'a str,
    anchor: String,
    must_hold: &'a str,
    result: EvidenceResult,
    result_name: &'static str,
    checks: Vec<PageCheck<'a>>,
}

#[derive(Serialize)]
struct PageCheck<'a> {
    checked: &'a str,
    seen: &'a str,
    at: Option<String>,
    result: EvidenceResult,
    result_name: &'static str,
}

impl EvidenceDocument {
    /// The HTML page and the Markdown page.
    pub(super) fn render(&self, time: &PeopleTime<'_>, key_id: &str) -> Result<[String; 2], minijinja::Error> {
        let mut environment = Environment::new();
        // A text may not end its cell.
        environment.add_filter("cell", |text: &str| text.replace('|', "\\|").replace('\n', " "));
        environment.add_filter("code", mark_code);
        environment.add_template("evidence.html", include_str!("evidence.html"))?;
        environment.add_template("evidence.md", include_str!("evidence.md.template"))?;
        let page = Value::from(Serde(self.page(time, key_id)));
        let render = |name| environment.get_template(name)?.render(page.clone()).map(|text| text + "\n");
        Ok([render("evidence.html")?, render("evidence.md")?])
    }

    fn page<'a>(&'a self, time: &'a PeopleTime<'a>, key_id: &'a str) -> Page<'a> {
        let check = |check: &'a EvidenceCheck| PageCheck {
            checked: &check.checked,
            seen: &check.seen,
            at: check.at.map(|at| time.format(at)),
            result: check.result,
            result_name: check.result.name(),
        };
        let area = |area: &'a EvidenceArea| PageArea {
            name: area.name,
            anchor: area.name.to_lowercase().replace(' ', "-"),
            must_hold: area.must_hold,
            result: area.result,
            result_name: area.result.name(),
            checks: area.checks.iter().map(check).collect(),
        };
        let rows = self.ledger.rows + self.line_events.rows;
        let units = self.ledger.read_units + self.line_events.read_units;
        Page {
            name: &self.name,
            made_at: time.format_minute(self.made_at),
            time_zone: time.name,
            tellonce: self.tellonce,
            stack: if self.is_account {
                "the stack in the client's account"
            } else {
                "a stack on one machine, for a trial"
            },
            commit: &self.commit,
            areas: self.areas.iter().map(area).collect(),
            reads: format!("{rows} rows of the ledger and the line inbox were read, for {units:.1} read units."),
            key_id,
        }
    }
}

/// HTML of a text in which names are between backticks.
fn mark_code(text: &str) -> Value {
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => HtmlEscape(part).to_string(),
        _ => format!("<code>{}</code>", HtmlEscape(part)),
    };
    Value::from_safe_string(text.split('`').enumerate().map(part).collect())
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;

    fn document() -> EvidenceDocument {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let check = |result, checked: &str, seen: &str| EvidenceCheck::new(result, checked, seen);
        let areas = vec![
            EvidenceArea::new(
                "Health",
                "Health is asked before production sends.",
                vec![
                    check(EvidenceResult::Passed, "health of the line `main`", "HTTP 200, sendable true")
                        .at(Some(at("2026-11-30T10:14:03Z"))),
                ],
            ),
            EvidenceArea::new(
                "Usable ids",
                "Ids are stored.",
                vec![
                    check(EvidenceResult::NotChecked, "one <status> | event", "none & none"),
                    check(EvidenceResult::ToSign, "the team sees a conversation", "only the team can confirm it"),
                ],
            ),
        ];
        EvidenceDocument {
            client: "acme".to_owned(),
            name: "Acme & Sons".to_owned(),
            made_at: at("2026-11-30T10:15:00Z"),
            tellonce: "0.1.0",
            is_account: true,
            commit: Some("0f3a9c27d481".to_owned()),
            areas,
            ledger: ScanCost { rows: 120, read_units: 6.5 },
            line_events: ScanCost { rows: 80, read_units: 4.0 },
        }
    }

    #[test]
    fn the_pages_say_what_was_checked_and_seen_and_leave_room_to_sign() {
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let [html, markdown] = document().render(&time, "0f3a").unwrap();
        insta::assert_snapshot!(markdown);
        assert!(html.contains("health of the line <code>main</code>"), "{html}");
        assert!(html.contains("one &lt;status&gt; | event") && html.contains("none &amp; none"), "{html}");
        assert_eq!(html.matches("class=\"sign\"").count(), 1);
        assert!(html.contains("<td class=\"result not-checked\">not checked</td>"), "{html}");
        let outside = ["http:", "https:", "src=", "<script", "@import", "url("];
        assert!(outside.iter().all(|word| !html.contains(word)), "it is self-contained");
    }
}
