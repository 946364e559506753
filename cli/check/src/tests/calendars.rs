//! Findings about calendars and their reminders.

use super::*;

/// A file with only calendars, one of each kind, without findings. Each test breaks one thing in
/// it.
const GOOD: &str = r#"client = "acme"
name = "Acme Clinic"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line_acme"

[calendars.clinic]
kind = "calcom"
line = "main"
id_scope = "clinic"

[calendars.clinic.reminders."24h"]
button = { url = "place_url", text = { he = "כניסה", en = "Join" } }
text.he = "תזכורת: {{ start }}"
text.en = """
See you on {{ weekday }}, {{ date }},
at {{ time }}{% if place %} at {{ place }}{% endif %}.
"""

[calendars.clinic.reminders."morning of at 08:00"]
useful_for = "3h"
text.he = "היום ב-{{ time }}"
text.en = "Today at {{ time }}"

[calendars.intro]
kind = "calendly"
line = "main"
id_scope = "intro"
phone_question = "Phone"
reminders = { 2h = { text = { he = "ב-{{ time }}", en = "At {{ time }}" } } }

[calendars.studio]
kind = "acuity"
line = "main"
id_scope = "studio"
user_id = "12345"
reminders = { 2h = { text = { he = "ב-{{ time }}", en = "At {{ time }}" } } }

[calendars.salon]
kind = "square"
line = "main"
id_scope = "salon"
notification_url = "https://hooks.acme.co.il/bookings/salon"
reminders = { 2h = { text = { he = "ב-{{ time }}", en = "At {{ time }}" } } }

[calendars.crm]
kind = "custom"
line = "main"
id_scope = "crm"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
fields = { id = "/id", start = "/start", phone = "/phone", status = "/status" }
statuses = { confirmed = "booked", canceled = "cancelled" }
reminders = { 2h = { text = { he = "ב-{{ time }}", en = "At {{ time }}" } } }

[calendars.diary]
kind = "ics"
line = "main"
id_scope = "diary"
poll_every = "15m"
phone = { field = "description", after = ["Phone:", "tel:"] }
person = { field = "x-customer" }
reminders = { 2h = { text = { he = "ב-{{ time }}", en = "At {{ time }}" } } }
"#;

const FILE: BaseFile = BaseFile(GOOD);

#[test]
fn a_client_of_calendars_alone_has_no_findings() {
    assert_eq!(list_findings(GOOD), Vec::<String>::new());
}

#[test]
fn stores_and_calendars_do_not_require_each_other() {
    FILE.assert_independent_of_stores("[calendars.clinic]");
}

#[test]
fn a_calendar_has_a_unique_name_a_line_a_zone_and_a_country() {
    FILE.assert_one_finding(
        "[calendars.studio]",
        "[calendars.Studio]",
        "[calendars.Studio]",
        "error",
        &["URL", "lower-case"],
    );
    let store = "[stores.studio]\nkind = \"shopify\"\nline = \"main\"\nshop_domain = \"acme.myshopify.com\"\n\n\
                 [messages.ready]\nuseful_for = \"2d\"\ntext.he = \"א\"\ntext.en = \"a\"\n\n[calendars.studio]";
    FILE.assert_one_finding(
        "[calendars.studio]",
        store,
        "[calendars.studio]",
        "error",
        &["there is a store `studio` too", "tellonce/acme/webhooks/studio"],
    );
    let with = |more: &str| format!("kind = \"calcom\"\n{more}");
    FILE.assert_one_finding(
        "line = \"main\"",
        "line = \"mian\"",
        "line = \"mian\"",
        "error",
        &["did you mean `main`?"],
    );
    let zone = "time_zone = \"Asia/Jeruslem\"";
    FILE.assert_one_finding("kind = \"calcom\"", &with(zone), zone, "error", &["did you mean `Asia/Jerusalem`?"]);
    FILE.assert_one_finding(
        "kind = \"calcom\"",
        &with("country = \"Israel\""),
        "country = \"Israel\"",
        "error",
        &["two-letter"],
    );
    FILE.assert_one_finding("kind = \"calcom\"", &with("name = \" \""), "name = \" \"", "error", &["name is empty"]);
    assert!(FILE.findings_after("kind = \"calcom\"", "kind = \"cal.com\"")[0].contains("did you mean `calcom`?"));
    assert!(
        FILE.findings_after("kind = \"calcom\"", &with("user_id = \"1\""))[0]
            .contains("`user_id` is not a setting of a calcom calendar")
    );
}

#[test]
fn calendars_that_share_an_id_scope_must_both_name_it() {
    let alone = FILE.findings_after("id_scope = \"clinic\"\n", "");
    assert!(alone.is_empty(), "it is alone in the id scope `main`: {alone:#?}");
    let both = |clinic: &str, intro: &str| {
        list_findings(&FILE.edit("id_scope = \"clinic\"\n", clinic).replacen("id_scope = \"intro\"\n", intro, 1))
    };
    let written = "id_scope = \"main\"\n";
    assert_eq!((both("", "").len(), both("", written).len(), both(written, written).len()), (2, 1, 0));
    let silent = both("", written);
    assert!(silent[0].contains("this calendar shares the id scope `main` with `intro`"), "{silent:#?}");
    assert!(silent[0].contains("write id_scope = \"main\" in each"), "{silent:#?}");
    FILE.assert_one_finding(
        "id_scope = \"crm\"",
        "id_scope = \"Our CRM\"",
        "id_scope = \"Our CRM\"",
        "error",
        &["name of an id scope", "idempotency keys"],
    );
}

#[test]
fn retention_outlasts_the_retry_window_of_booking_systems() {
    let findings_with_retention = |days: u16| {
        list_findings(&FILE.edit("[lines.main]", &format!("[retention]\ninbox_days = {days}\n\n[lines.main]")))
    };
    let one_day = findings_with_retention(1);
    assert_eq!(one_day.len(), 3, "{one_day:#?}");
    for calendar in ["crm", "intro", "salon"] {
        assert!(one_day.iter().any(|found| found.contains(&format!("the calendar `{calendar}`"))), "{one_day:#?}");
    }
    assert_eq!(findings_with_retention(2).len(), 1);
    assert!(findings_with_retention(7).is_empty());
}

#[test]
fn each_kind_needs_its_own_settings() {
    FILE.assert_one_finding("\"Phone\"", "\" \"", "phone_question", "error", &["word for word"]);
    let empty = "kind = \"calcom\"\nphone_question = \" \"";
    FILE.assert_one_finding("kind = \"calcom\"", empty, "phone_question", "error", &["identifier or the label"]);
    FILE.assert_one_finding("\"12345\"", "\"acme@example.com\"", "user_id", "error", &["numeric user id"]);
    let url = "https://hooks.acme.co.il/bookings/salon";
    FILE.assert_one_finding(url, "http://hooks.acme.co.il/bookings/salon", "notification_url", "error", &["https://"]);
    FILE.assert_one_finding(url, "hooks.acme.co.il/bookings/salon", "notification_url", "error", &["https://"]);
    FILE.assert_one_finding(
        url,
        "https://hooks.acme.co.il/t/square",
        "notification_url",
        "warning",
        &["/bookings/salon"],
    );
    assert!(FILE.findings_after("user_id = \"12345\"\n", "")[0].contains("an acuity calendar needs `user_id`"));
}

#[test]
fn two_calendars_of_one_account_are_found() {
    let second = "[calendars.second]\nkind = \"acuity\"\nline = \"main\"\nid_scope = \"second\"\nuser_id = \"12345\"\n\
                  reminders = { 2h = { text = { he = \"א\", en = \"a\" } } }\n\n[calendars.diary]";
    let found = FILE.findings_after("[calendars.diary]", second);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("the calendar `second` is the same account"), "{found:#?}");
}

#[test]
fn a_custom_calendar_maps_statuses_that_book_and_cancel() {
    FILE.assert_one_finding("X-Webhook-Token", "X Token", "verify", "error", &["HTTP header"]);
    FILE.assert_one_finding("phone = \"/phone\"", "phone = \"/pho~ne\"", "fields = {", "error", &["~0"]);
    FILE.assert_one_finding("phone = \"/phone\", ", "", "fields = {", "error", &["`phone` is missing here"]);
    FILE.assert_one_finding(
        "statuses = { confirmed = \"booked\", canceled = \"cancelled\" }\n",
        "",
        "fields = {",
        "error",
        &["confirmed = \"booked\""],
    );
    FILE.assert_one_finding(
        ", status = \"/status\"",
        "",
        "statuses = {",
        "error",
        &["never used", "status = \"/status\""],
    );
    FILE.assert_one_finding("confirmed = \"booked\", ", "", "statuses = {", "error", &["no status means `booked`"]);
    FILE.assert_one_finding(", canceled = \"cancelled\"", "", "statuses = {", "warning", &["reminded anyway"]);
    FILE.assert_one_finding(
        "confirmed =",
        "\" \" = \"booked\", confirmed =",
        "statuses = {",
        "error",
        &["a status has no name"],
    );
    FILE.assert_one_finding(
        "= \"cancelled\"",
        "= \"canceled\"",
        "statuses = {",
        "error",
        &["did you mean `cancelled`?"],
    );
    let neither = FILE.edit(", status = \"/status\"", "").replace("statuses = {", "# {");
    let found = list_findings(&neither);
    assert!(found.len() == 1 && found[0].contains("every delivery books"), "{found:#?}");
}

#[test]
fn a_feed_is_polled_at_a_sensible_interval_and_names_the_phone_field() {
    for every in ["4m", "25h"] {
        FILE.assert_one_finding("\"15m\"", &format!("\"{every}\""), "poll_every", "error", &["5m", "1d"]);
    }
    FILE.assert_one_finding(
        "\"description\"",
        "\"descripton\"",
        "phone = { field",
        "error",
        &["did you mean `description`?"],
    );
    FILE.assert_one_finding("\"description\"", "\"Summary\"", "phone = { field", "error", &["did you mean `summary`?"]);
    FILE.assert_one_finding("\"x-customer\"", "\"customer\"", "person = {", "error", &["`x-phone`"]);
    FILE.assert_one_finding("\"tel:\"", "\"\"", "phone = { field", "error", &["`after` is empty"]);
    let without = "phone = { field = \"description\", after = [\"Phone:\", \"tel:\"] }\n";
    assert!(FILE.findings_after(without, "")[0].contains("an ics calendar needs `phone`"));
}

#[test]
fn stages_parse_and_have_distinct_names_and_times() {
    let stage = |written: &str| format!("[calendars.clinic.reminders.\"{written}\"]");
    let morning = stage("morning of at 08:00");
    let wrong = stage("8 in the morning");
    FILE.assert_one_finding(
        &morning,
        &wrong,
        &wrong,
        "error",
        &["is not a time before an appointment", "morning of at 08:00"],
    );
    FILE.assert_one_finding(&morning, &stage("+4h"), "\"+4h\"", "error", &["with nothing but a number and its unit"]);
    let second = |written: &str| format!("{}\ntext.he = \"א\"\ntext.en = \"a\"\n\n{morning}", stage(written));
    FILE.assert_one_finding(&morning, &second("day of at 07:30"), &morning, "error", &["are one stage, `morning-of`"]);
    FILE.assert_one_finding(&morning, &second("1d"), &stage("24h"), "error", &["at the same time"]);
    FILE.assert_one_finding(&morning, &second("1440m"), &stage("24h"), "error", &["at the same time"]);
    let none =
        FILE.findings_after("reminders = { 2h = { text = { he = \"ב-{{ time }}\", en = \"At {{ time }}\" } } }\n", "");
    assert!(
        none.len() == 1 && none[0].contains("this calendar has no reminders") && none[0].contains("\"24h\""),
        "{none:#?}"
    );
}

#[test]
fn a_reminder_is_useful_long_enough_and_not_sent_too_late() {
    FILE.assert_one_finding("\"3h\"", "\"5m\"", "useful_for", "warning", &["shortest outage"]);
    FILE.assert_one_finding(
        "\"3h\"",
        "\"25h\"",
        "useful_for",
        "warning",
        &["longer than the time until the appointment"],
    );
    FILE.assert_one_finding("useful_for = \"3h\"", "priority = 101", "priority", "error", &["more than 100"]);
    let late = "morning of at 11:30";
    FILE.assert_one_finding("morning of at 08:00", late, late, "warning", &["an appointment at 11:30 or earlier"]);
    assert!(FILE.findings_after("morning of at 08:00", "day before at 18:00").is_empty());
}

#[test]
fn a_reminder_planned_in_quiet_hours_is_a_warning() {
    let quiet = |to: &str, more: &str| {
        let text = FILE.edit("useful_for = \"3h\"", more);
        list_findings(
            &text.replace("[lines.main]", &format!("[quiet_hours]\nfrom = \"21:00\"\nto = \"{to}\"\n\n[lines.main]")),
        )
    };
    assert!(quiet("08:00", "").is_empty());
    let later = quiet("09:00", "");
    assert!(later.len() == 1 && later[0].contains("always sent at 09:00, when they end"), "{later:#?}");
    let earlier = quiet("09:00", "quiet_hours = \"before\"");
    assert!(earlier.len() == 1 && earlier[0].contains("always sent before 21:00"), "{earlier:#?}");
    assert!(quiet("09:00", "quiet_hours = \"ignore\"").is_empty());
    FILE.assert_one_finding(
        "useful_for = \"3h\"",
        "quiet_hours = \"ignore\"",
        "quiet_hours",
        "warning",
        &["there are no quiet hours"],
    );
}

#[test]
fn texts_of_reminders_know_the_appointment_and_not_the_order() {
    FILE.assert_one_finding(
        "at {{ time }}{%",
        "at {{ tiem }}{%",
        "tiem",
        "error",
        &["texts have no variable `tiem`", "did you mean `time`?"],
    );
    FILE.assert_one_finding(
        "at {{ time }}{%",
        "at {{ order_number }}{%",
        "order_number",
        "error",
        &["`order_number` has no value in texts about an appointment", "`weekday`"],
    );
    FILE.assert_one_finding(
        "{% if place %} at {{ place }}{% endif %}",
        " at {{ place }}",
        "{{ place }}",
        "warning",
        &["an appointment without `place`"],
    );
    FILE.assert_one_finding(
        "תזכורת: {{ start }}",
        "{% if title %}{{ title }}{% endif %}",
        "text.he = \"{%",
        "warning",
        &["the text is empty"],
    );
    FILE.assert_one_finding("en = \"Join\"", "en = \"Join on {{ start }}\"", "button =", "error", &["20 characters"]);
    FILE.assert_one_finding(
        "\"place_url\"",
        "\"place\"",
        "button =",
        "error",
        &["`place` is not a link", "write `place_url`"],
    );
    FILE.assert_one_finding(
        "\"place_url\"",
        "\"order_url\"",
        "button =",
        "error",
        &["in texts about an appointment", "`place_url`"],
    );
    FILE.assert_one_finding(
        "text.he = \"היום ב-{{ time }}\"\n",
        "",
        "text.en = \"Today",
        "error",
        &["missing in `he`"],
    );
    let order = super::GOOD.replace("{{ order_number }} is ready", "{{ start }} is ready");
    assert!(list_findings(&order)[0].contains("`start` has no value in texts about an order"));
}

#[test]
fn organizers_and_the_limit_of_new_appointments_are_checked() {
    let with = |more: &str| format!("poll_every = \"15m\"\n{more}");
    let organizers = |list: &str| with(&format!("organizers = [{list}]"));
    let good = organizers("\"anna@gmail.com\", \"@clinic.example\"");
    assert!(FILE.findings_after("poll_every = \"15m\"", &good).is_empty());
    FILE.assert_one_finding(
        "poll_every = \"15m\"",
        &organizers("\"@Gmail.com\""),
        "organizers",
        "error",
        &["every person can have an address at `@gmail.com`", "whole addresses"],
    );
    let wrong = FILE.findings_after("poll_every = \"15m\"", &organizers("\"clinic.example\""));
    assert!(wrong[0].contains("`clinic.example` is not an organizer"), "{wrong:#?}");
    for count in ["0", "5001"] {
        let limit = format!("new_per_day = {count}");
        FILE.assert_one_finding("poll_every = \"15m\"", &with(&limit), &limit, "error", &["1 to 5000", "200 is usual"]);
    }
}

#[test]
fn a_text_uses_a_title_or_a_place_only_if_the_client_writes_it() {
    let with_place = "text = { he = \"ב-{{ time }}{% if place %} {{ place }}{% endif %}\", en = \"At {{ time }}\" }";
    let text = "text = { he = \"ב-{{ time }}\", en = \"At {{ time }}\" }";
    for (calendar, remedy) in
        [("diary", "own_texts = true"), ("crm", "own_texts = true and name the field"), ("salon", "remove it")]
    {
        let (before, own) = GOOD.split_at(GOOD.find(&format!("[calendars.{calendar}]")).unwrap());
        let edited = own.replacen(text, with_place, 1);
        let found = list_findings(&format!("{before}{edited}"));
        let what = "no appointment of this calendar has a `place`";
        assert!(found.len() == 1 && found[0].contains(what) && found[0].contains(remedy), "{calendar}: {found:#?}");
        let own_texts = match calendar {
            "diary" => edited.replacen("poll_every", "own_texts = true\npoll_every", 1),
            "crm" => edited.replacen("verify", "own_texts = true\nverify", 1).replacen(
                "fields = { ",
                "fields = { place = \"/place\", ",
                1,
            ),
            _ => continue,
        };
        assert_eq!(list_findings(&format!("{before}{own_texts}")), Vec::<String>::new(), "{calendar}");
    }
    FILE.assert_one_finding(
        "fields = { ",
        "fields = { place = \"/place\", ",
        "fields = {",
        "warning",
        &["without own_texts = true this field has no effect", "customer may type the place"],
    );
    assert!(
        FILE.findings_after("user_id = \"12345\"", "user_id = \"12345\"\nown_texts = true")[0]
            .contains("`own_texts` is not a setting of an acuity calendar")
    );
}

#[test]
fn replies_are_not_interpreted() {
    for setting in ["on_reply", "confirm_words", "keywords", "rsvp", "cancel-words"] {
        let asked = format!("kind = \"calcom\"\n{setting} = \"yes\"");
        let path = format!("`calendars.clinic.{setting}`");
        FILE.assert_one_finding(
            "kind = \"calcom\"",
            &asked,
            setting,
            "error",
            &[&path, "team in EZWhatsApp", "docs/boundaries.md"],
        );
    }
    assert!(
        FILE.findings_after("confirmed =", "rsvp = \"booked\", confirmed =").is_empty(),
        "a sender's words are its own"
    );
}
