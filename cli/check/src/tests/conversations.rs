//! Findings about CRMs, targets, escalations, business hours and opt-out.
//!
//! Long because it lists every finding about conversations once.

use super::*;

/// A file with only the settings that use line events, without findings. Each test breaks one thing
/// in it.
const GOOD: &str = r#"client = "acme"
name = "Acme Studio"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line_acme"
events = true

[calendars.clinic]
kind = "calcom"
line = "main"
reminders = { 2h = { text = { he = "א", en = "a" } } }

[stores.shop]
kind = "shopify"
line = "main"
shop_domain = "acme.myshopify.com"

[messages.ready]
useful_for = "2d"
text.he = "מוכן"
text.en = "Ready"

[crms.hub]
kind = "hubspot"
lines = ["main"]
requests_per_minute = 240

[crms.pipe]
kind = "pipedrive"
company = "acme-studio"
unknown = "skip"
text = "off"

[crms.zoho]
kind = "zoho"
data_centre = "eu"
module = "contacts"

[crms.sheet]
kind = "google-sheets"
spreadsheet = "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms"
sheet = "WhatsApp log"

[crms.own]
kind = "webhook"
url = "https://hooks.acme.co.il/whatsapp?source=tellonce"

[targets.slack]
kind = "slack"

[targets.teams]
kind = "teams"
text = "off"

[targets.mail]
kind = "email"
from = "alerts@acme.co.il"
to = ["team@acme.co.il", "dana.levi+wa@acme.co.il"]

[targets.topic]
kind = "sns"
topic_arn = "arn:aws:sns:eu-central-1:111122223333:acme-team"

[targets.desk]
kind = "webhook"
url = "https://desk.acme.co.il/alerts"

[escalations.urgent]
when = { words = { he = ["דחוף"], en = ["urgent", "speak to a person"] } }
to = ["slack", "teams"]
cooldown = "2h"
lines = ["main"]

[escalations.urgent.acknowledge]
text.he = "תודה, {{ business_name }} יענו בהקדם"
text.en = "Thanks{% if first_name %}, {{ first_name }}{% endif %}. Somebody will be with you soon."

[escalations.new]
when = "first-message"
to = ["mail"]

[escalations.night]
when = "after-hours"
to = ["topic"]
acknowledge = { text = { he = "נענה בבוקר", en = "We answer in the morning" }, useful_for = "1h" }

[escalations.waiting]
when = { unanswered = "15m" }
to = ["desk"]

[escalations.failed]
when = "failed-delivery"
to = ["desk"]

[escalations.cancelled]
when = { order = ["cancelled", "refunded"] }
to = ["desk"]

[escalations.booked]
when = { appointment = ["booked"] }
to = ["desk"]

[[business_hours]]
days = ["sun", "mon", "tue", "wed", "thu"]
from = "09:00"
to = "18:00"

[opt_out]
he = ["הסר"]
en = ["stop", "unsubscribe"]
"#;

const FILE: BaseFile = BaseFile(GOOD);

#[test]
fn a_client_of_conversations_has_no_findings() {
    assert_eq!(list_findings(GOOD), Vec::<String>::new());
}

#[test]
fn a_line_that_only_takes_events_is_valid() {
    let alone = "client = \"acme\"\nname = \"A\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\nlanguages = [\"en\"]\n\
                 [lines.main]\nline_id = \"line_acme\"\nevents = true\n[crms.hub]\nkind = \"hubspot\"\n";
    assert_eq!(list_findings(alone), Vec::<String>::new());
}

#[test]
fn crms_escalations_and_opt_out_need_a_line_that_takes_events() {
    let found = FILE.findings_after("events = true\n", "");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().all(|found| found.starts_with("error no line accepts events")), "{found:#?}");
    assert!(found[0].contains("events = true") && found[0].contains("tellonce webhook register"), "{found:#?}");
    let deaf = "events = true\n\n[lines.deaf]\nline_id = \"line_2\"\n\n[forms.x]\nkind = \"typeform\"\nline = \"deaf\"\n\
                consent = { field = \"c\" }\nfirst_touch = { useful_for = \"1d\", text = { he = \"א\", en = \"a\" } }\n";
    let text =
        FILE.edit("events = true\n", deaf).replacen("lines = [\"main\"]\nrequests", "lines = [\"deaf\"]\nrequests", 1);
    let found = list_findings(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("error the line `deaf` does not accept events") && found[0].contains("[lines.deaf]"),
        "{found:#?}"
    );
}

#[test]
fn names_are_plain_and_lines_exist() {
    FILE.assert_one_finding("[crms.hub]", "[crms.Hub]", "[crms.Hub]", "error", &["`Hub` cannot be the name of a CRM"]);
    let long = format!("[escalations.{}]", "x".repeat(41));
    FILE.assert_one_finding(
        "[escalations.new]",
        &long,
        &long,
        "error",
        &["cannot be the name of an escalation", "at most 40"],
    );
    let spaced = FILE.findings_after("[targets.mail]", "[targets.\"e mail\"]");
    assert!(spaced.iter().any(|found| found.contains("cannot be the name of a target")), "{spaced:#?}");
    let asked = "requests_per_minute = 240";
    FILE.assert_one_finding(
        "lines = [\"main\"]\nrequests",
        "lines = [\"mian\"]\nrequests",
        "[\"mian\"]",
        "error",
        &["did you mean `main`?"],
    );
    FILE.assert_one_finding(
        "lines = [\"main\"]\nrequests",
        "lines = [\"main\", \"main\"]\nrequests",
        "\"main\", ",
        "warning",
        &["listed twice"],
    );
    FILE.assert_one_finding(
        "lines = [\"main\"]\n\n[esc",
        "lines = [\"mine\"]\n\n[esc",
        "[\"mine\"]",
        "error",
        &["no line `mine`"],
    );
    assert!(FILE.findings_after(asked, "").is_empty());
}

#[test]
fn a_crm_request_rate_stays_within_the_vendors_limit() {
    for (asked, severity, says) in [
        ("0", "error", "write 1 to 6000"),
        ("6001", "error", "write 1 to 6000"),
        ("601", "warning", "more than the 600 that HubSpot"),
    ] {
        let to = format!("requests_per_minute = {asked}");
        FILE.assert_one_finding("requests_per_minute = 240", &to, &to, severity, &[says]);
    }
    let pipe = "unknown = \"skip\"\nrequests_per_minute = 700";
    FILE.assert_one_finding("unknown = \"skip\"", pipe, "= 700", "warning", &["600 that Pipedrive"]);
    let sheet = "sheet = \"WhatsApp log\"\nrequests_per_minute = 61";
    FILE.assert_one_finding("sheet = \"WhatsApp log\"", sheet, "= 61", "warning", &["60 that Google"]);
    let zoho = FILE.findings_after("kind = \"zoho\"", "kind = \"zoho\"\nrequests_per_minute = 6000");
    assert!(zoho.is_empty(), "{zoho:#?}");
}

#[test]
fn a_crm_address_is_valid() {
    for company in ["acme.pipedrive.com", "https://acme.pipedrive.com", "Acme", "-acme", "acme-", "a/b", ""] {
        let to = format!("company = \"{company}\"");
        FILE.assert_one_finding("company = \"acme-studio\"", &to, &to, "error", &["company's part", "write `acme`"]);
    }
    for id in ["https://docs.google.com/spreadsheets/d/1AbC/edit", "", "1Ab C"] {
        let to = format!("spreadsheet = \"{id}\"");
        let from = "spreadsheet = \"1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms\"";
        FILE.assert_one_finding(from, &to, &to, "error", &["not the id of a spreadsheet", "/d/"]);
    }
    FILE.assert_one_finding("\"WhatsApp log\"", "\" \"", "sheet = \" \"", "error", &["empty"]);
    FILE.assert_one_finding("\"WhatsApp log\"", "\"Log!A1\"", "Log!A1", "error", &["is a range"]);
}

#[test]
fn an_address_is_https_on_the_internet_and_holds_no_secret() {
    let good = "https://hooks.acme.co.il/whatsapp?source=tellonce";
    for (address, says) in [
        ("http://hooks.acme.co.il/", "the address is not https"),
        ("https://127.0.0.1/x", "an IP address"),
        ("https://203.0.113.9/x", "an IP address"),
        ("https://localhost/x", "inner network"),
        ("https://crm.internal/x", "inner network"),
        ("https://u:p@hooks.acme.co.il/", "a user or a password"),
        ("hooks.acme.co.il", "is not a URL"),
        ("https://hooks.acme.co.il/?Token=x", "this address seems to contain a secret"),
    ] {
        FILE.assert_one_finding(good, address, &format!("url = \"{address}\""), "error", &[says]);
        FILE.assert_one_finding(
            "https://desk.acme.co.il/alerts",
            address,
            &format!("url = \"{address}\""),
            "error",
            &[says],
        );
    }
    let slack = FILE.findings_after(good, "https://hooks.slack.com/services/T0/B0/hunter2");
    assert!(slack[0].starts_with("error this looks like a secret") && !slack[0].contains("hunter2"), "{slack:#?}");
}

#[test]
fn a_target_is_used_by_an_escalation_and_has_a_valid_address() {
    let spare = "[targets.spare]\nkind = \"teams\"\n\n[targets.slack]";
    FILE.assert_one_finding(
        "[targets.slack]",
        spare,
        "[targets.spare]",
        "warning",
        &["no escalation alerts this target"],
    );
    for from in
        ["Acme <alerts@acme.co.il>", "alerts", "a@b", "a@b..il", "א@acme.co.il", "a b@acme.co.il", "@acme.co.il"]
    {
        let to = format!("from = \"{from}\"");
        FILE.assert_one_finding(
            "from = \"alerts@acme.co.il\"",
            &to,
            &to,
            "error",
            &["`from` is not an e-mail address"],
        );
    }
    let team = "\"team@acme.co.il\", \"dana.levi+wa@acme.co.il\"";
    FILE.assert_one_finding(team, "", "to = []", "error", &["the list of recipients is empty"]);
    FILE.assert_one_finding(team, "\"team@acme.co.il\", \"Team@acme.co.il\"", "Team@", "warning", &["listed twice"]);
    let many: Vec<_> = (0..51).map(|n| format!("\"a{n}@acme.co.il\"")).collect();
    FILE.assert_one_finding(team, &many.join(", "), "a50@", "error", &["51 addresses", "at most 50"]);
    let personal = FILE.findings_after(team, "\"dana.levi\"");
    assert!(personal.len() == 1 && !personal[0].contains("dana"), "{personal:#?}");
    for arn in [
        "acme-team",
        "arn:aws:sqs:eu-central-1:111122223333:acme-team",
        "arn:aws:sns:eu-central-1:1111:acme-team",
        "arn:aws:sns:europe:111122223333:acme-team",
        "arn:aws:sns:eu-central-1:111122223333:acme-team:6b0e71bd-7e97-4d97-80ce-4a0994e55286",
    ] {
        let to = format!("topic_arn = \"{arn}\"");
        FILE.assert_one_finding(
            "topic_arn = \"arn:aws:sns:eu-central-1:111122223333:acme-team\"",
            &to,
            &to,
            "error",
            &["not the ARN"],
        );
    }
    assert!(FILE.findings_after(":acme-team\"", ":acme-team.fifo\"").is_empty());
}

#[test]
fn an_escalation_alerts_targets_that_exist() {
    FILE.assert_one_finding(
        "to = [\"slack\", \"teams\"]",
        "to = [\"slack\", \"teams\", \"slak\"]",
        "slak",
        "error",
        &["did you mean `slack`?"],
    );
    FILE.assert_one_finding(
        "to = [\"slack\", \"teams\"]",
        "to = [\"slack\", \"teams\", \"slack\"]",
        "teams\", ",
        "warning",
        &["listed twice"],
    );
    let without_targets = FILE.findings_after("to = [\"slack\", \"teams\"]", "to = []");
    assert!(
        without_targets.iter().any(|found| found.starts_with("error this escalation alerts no target")),
        "{without_targets:#?}"
    );
    FILE.assert_one_finding("cooldown = \"2h\"", "cooldown = \"8d\"", "\"8d\"", "error", &["seven days at most"]);
    FILE.assert_one_finding("cooldown = \"2h\"", "cooldown = \"30s\"", "\"30s\"", "error", &["is not a span of time"]);
}

#[test]
fn a_trigger_can_happen() {
    let hours =
        "[[business_hours]]\ndays = [\"sun\", \"mon\", \"tue\", \"wed\", \"thu\"]\nfrom = \"09:00\"\nto = \"18:00\"\n";
    let none = FILE.findings_after(hours, "");
    assert_eq!(none.len(), 2, "{none:#?}");
    assert!(none[0].starts_with("error there are no business hours, so this escalation never applies"), "{none:#?}");
    assert!(none[1].starts_with("warning there are no business hours") && none[1].contains("at night"), "{none:#?}");
    FILE.assert_one_finding(
        "unanswered = \"15m\"",
        "unanswered = \"8d\"",
        "\"8d\"",
        "error",
        &["watched for seven days at most"],
    );
    FILE.assert_one_finding("[\"cancelled\", \"refunded\"]", "[]", "order = []", "error", &["there is no milestone"]);
    FILE.assert_one_finding(
        "\"cancelled\", \"ref",
        "\"refunded\", \"ref",
        "\"refunded\", ",
        "warning",
        &["a milestone is listed twice"],
    );
    FILE.assert_one_finding(
        "\"refunded\"]",
        "\"invoice\"]",
        "invoice",
        "warning",
        &["no store ever reports `invoice`"],
    );
    FILE.assert_one_finding(
        "{ appointment = [\"booked\"] }",
        "{ appointment = [] }",
        "appointment = []",
        "error",
        &["no state"],
    );
    let found = FILE.findings_after("[calendars.clinic]\nkind = \"calcom\"\nline = \"main\"\nreminders = { 2h = { text = { he = \"א\", en = \"a\" } } }\n", "");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("there is no calendar, so no appointment is ever reported"), "{found:#?}");
    assert!(found[1].contains("there is no calendar or form, so there are no reminders"), "{found:#?}");
}

#[test]
fn hours_have_days_and_end_after_they_begin() {
    let days = "days = [\"sun\", \"mon\", \"tue\", \"wed\", \"thu\"]";
    FILE.assert_one_finding(days, "days = []", "[[business_hours]]", "error", &["the business hours have no day"]);
    FILE.assert_one_finding(
        days,
        "days = [\"sun\", \"sun\"]",
        "[[business_hours]]",
        "warning",
        &["a day is listed twice"],
    );
    for to in ["09:00", "08:00"] {
        let edit = format!("to = \"{to}\"");
        FILE.assert_one_finding(
            "to = \"18:00\"",
            &edit,
            "[[business_hours]]",
            "error",
            &["end before they begin", "two entries"],
        );
    }
    FILE.assert_one_finding(days, "days = [\"sunday\"]", "sunday", "error", &["`sunday`", "did you mean `sun`?"]);
}

#[test]
fn trigger_words_are_meaningful_and_in_the_clients_languages() {
    FILE.assert_one_finding("\"urgent\"", "\" \"", "words = ", "error", &["has only signs"]);
    FILE.assert_one_finding("\"urgent\"", "\"!\"", "words = ", "error", &["has only signs"]);
    FILE.assert_one_finding("\"urgent\"", "\"hi\"", "words = ", "warning", &["`hi` is too short"]);
    FILE.assert_one_finding("\"urgent\"", "\"urgent\", \" Urgent!\"", "words = ", "warning", &["listed twice"]);
    FILE.assert_one_finding("he = [\"דחוף\"], ", "", "words = ", "warning", &["no word in `he`"]);
    FILE.assert_one_finding("he = [\"דחוף\"], ", "he = [], ", "words = ", "error", &["there is no word here"]);
    FILE.assert_one_finding(
        "he = [\"דחוף\"], ",
        "he = [\"דחוף\"], ru = [\"срочно\"], ",
        "words = ",
        "warning",
        &["`ru` is not one"],
    );
    FILE.assert_one_finding(
        "{ he = [\"דחוף\"], en = [\"urgent\", \"speak to a person\"] }",
        "{}",
        "words = ",
        "error",
        &["there is no word, so"],
    );
    FILE.assert_one_finding("\"urgent\"", "\"STOP\"", "words = ", "warning", &["a word of opt_out too"]);
}

#[test]
fn everyday_words_are_warned_of_as_opt_out_words() {
    for word in ["no", "No!", "ok", "לא", "לא תודה", "cancel", "ביטול", "да", "لا", "x"] {
        let to = format!("en = [\"stop\", \"{word}\"]");
        FILE.assert_one_finding(
            "en = [\"stop\", \"unsubscribe\"]",
            &to,
            &to,
            "warning",
            &["every day", "docs/boundaries.md"],
        );
    }
    FILE.assert_one_finding("\"unsubscribe\"", "\"\"", "en = [\"stop\", \"\"]", "error", &["a word is empty"]);
    FILE.assert_one_finding("\"unsubscribe\"", "\"Stop.\"", "Stop.", "warning", &["listed twice"]);
    FILE.assert_one_finding("he = [\"הסר\"]\n", "", "[opt_out]", "warning", &["no word in `he`"]);
}

#[test]
fn an_acknowledgement_exists_in_every_language_and_uses_few_variables() {
    let english =
        "text.en = \"Thanks{% if first_name %}, {{ first_name }}{% endif %}. Somebody will be with you soon.\"\n";
    FILE.assert_one_finding(english, "", "text.he = \"תודה", "error", &["`acknowledge` is missing in `en`"]);
    let with = |text: &str| format!("text.en = \"{text}\"\n");
    let of = ["no value in texts about a conversation", "`business_name`, `name`, `first_name`"];
    FILE.assert_one_finding(english, &with("{{ order_number }}"), "text.en = \"{{ order", "error", &[of[0]]);
    FILE.assert_one_finding(
        english,
        &with("{{ message }}"),
        "text.en = \"{{ message",
        "error",
        &["no variable `message`"],
    );
    FILE.assert_one_finding(english, &with("Hi {{ name }}"), "text.en = \"Hi", "warning", &["without `name`"]);
    FILE.assert_one_finding(english, &with(""), "text.en = \"\"", "error", &["the text is empty"]);
    assert!(
        FILE.findings_after("useful_for = \"1h\"", "useful_for = \"5m\"").is_empty(),
        "an answer at once may be of use for minutes only"
    );
    FILE.assert_one_finding("useful_for = \"1h\"", "useful_for = \"3h\"", "\"3h\"", "warning", &["at most 2h"]);
    let failed_delivery = "when = \"failed-delivery\"\nacknowledge = { text = { he = \"א\", en = \"a\" } }";
    FILE.assert_one_finding(
        "when = \"failed-delivery\"",
        failed_delivery,
        "acknowledge = { text = { he = \"א\"",
        "error",
        &["nothing to acknowledge"],
    );
    let late = "when = { unanswered = \"15m\" }\nacknowledge = { text = { he = \"א\", en = \"a\" } }";
    FILE.assert_one_finding(
        "when = { unanswered = \"15m\" }",
        late,
        "acknowledge = { text = { he = \"א\"",
        "error",
        &["remove it"],
    );
}

#[test]
fn owners_bots_and_automatic_replies_are_refused() {
    for (from, setting, says) in [
        ("[crms.hub]", "owner = \"dana\"", "the owner of a contact in the CRM"),
        ("[crms.hub]", "hubspot_owner_id = 7", "the owner of a contact in the CRM"),
        ("[crms.zoho]", "assign = \"round-robin\"", "in EZWhatsApp alone"),
        ("[escalations.new]", "assign_to = \"dana\"", "in EZWhatsApp alone"),
        ("[escalations.new]", "auto_reply = \"hi\"", "not by a bot"),
        ("[escalations.new]", "reply = \"hi\"", "`acknowledge` is the only automatic reply"),
        ("[escalations.new]", "keywords = [\"yes\"]", "words can only alert the team"),
    ] {
        let name = setting.split(' ').next().unwrap();
        FILE.assert_one_finding(
            from,
            &format!("{from}\n{setting}"),
            setting,
            "error",
            &[says, name, "docs/boundaries.md"],
        );
    }
    FILE.assert_one_finding(
        "[targets.slack]",
        "[targets.slack]\nchannel = \"#team\"",
        "#team",
        "error",
        &["`channel` is not a setting of"],
    );
    let named = FILE.edit("[crms.own]", "[crms.inbox]").replacen("[escalations.new]", "[escalations.owner]", 1);
    assert_eq!(list_findings(&named), Vec::<String>::new(), "a client's own names are free");
    FILE.assert_one_finding(
        "[crms.zoho]",
        "[crms.zoho]\nrefresh_token = \"x\"",
        "refresh_token",
        "error",
        &["Secrets Manager"],
    );
}

#[test]
fn an_unloadable_file_says_which_setting_is_missing() {
    FILE.assert_one_finding("data_centre = \"eu\"\n", "", "[crms.zoho]", "error", &["a zoho CRM needs `data_centre`"]);
    FILE.assert_one_finding(
        "data_centre = \"eu\"",
        "data_centre = \"uk\"",
        "\"uk\"",
        "error",
        &["`uk` is not one of the values"],
    );
    FILE.assert_one_finding("kind = \"slack\"", "kind = \"slak\"", "\"slak\"", "error", &["did you mean `slack`?"]);
    FILE.assert_one_finding(
        "when = \"first-message\"",
        "when = \"first\"",
        "\"first\"",
        "error",
        &["did you mean `first-message`?"],
    );
    FILE.assert_one_finding("{ unanswered =", "{ unansered =", "unansered", "error", &["did you mean `unanswered`?"]);
    FILE.assert_one_finding(
        "when = \"first-message\"",
        "when = \"words\"",
        "\"words\"",
        "error",
        &["not a single trigger"],
    );
    FILE.assert_one_finding("when = \"after-hours\"", "", "[escalations.night]", "error", &["`when` is missing here"]);
}

#[test]
fn a_form_that_only_toml_has_is_an_error_because_the_functions_cannot_read_it() {
    let text = FILE.edit("when = \"first-message\"", "when = { first-message = {} }");
    let holds = ["the functions cannot read this file"];
    assert_one_of(&list_findings(&text), "1 error ", &holds);
    assert!(check_file(&text).config.is_none());
}
