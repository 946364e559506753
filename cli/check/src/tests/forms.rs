//! Findings about forms and their first touches.

use super::*;

/// A file with only forms, without findings. Each test breaks one thing in it.
const GOOD: &str = r#"client = "acme"
name = "Acme Studio"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line_acme"

[forms.website]
kind = "web"
line = "main"
id_scope = "website"
name = "Acme Courses"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
countries = ["IL", "US"]
language = "he"
fields = { phone = "tel", id = "lead_id" }
consent = { field = "whatsapp", accepts = ["I agree"] }
choice = { field = "course", of = ["Wheel", "Glaze"] }
repeat = { within = "14d", across = "form", then = "escalate" }
per_phone = { leads = 2, within = "1d" }
burst = { leads = 20, within = "10m" }

[forms.website.first_touch]
useful_for = "1d"
text.he = "תודה שפנית אל {{ business_name }}"
text.en = """
Hi{% if first_name %} {{ first_name }}{% endif %}, thank you!
{% if choice %}You asked about {{ choice }}.{% endif %}
"""

[forms.typeform]
kind = "typeform"
line = "main"
id_scope = "typeform"
form_ids = ["contact"]
consent = { stated = "By sending this you agree to be written to on WhatsApp" }
first_touch = { useful_for = "2d", text = { he = "תודה", en = "Thanks" } }

[forms.hub]
kind = "hubspot"
line = "main"
id_scope = "hub"
notification_url = "https://hooks.acme.co.il/leads/hub"
consent = { field = "whatsapp_consent" }
first_touch = { useful_for = "2d", text = { he = "תודה", en = "Thanks" } }

[forms.gravity]
kind = "gravity-forms"
line = "main"
id_scope = "gravity"
verify = { scheme = "secret-path" }
fields = { phone = "3", first_name = "1.3" }
consent = { field = "4.1" }
first_touch = { useful_for = "2d", text = { he = "תודה", en = "Thanks" } }
"#;

const FILE: BaseFile = BaseFile(GOOD);

#[test]
fn a_client_of_forms_alone_has_no_findings() {
    assert_eq!(list_findings(GOOD), Vec::<String>::new());
}

#[test]
fn stores_and_forms_do_not_require_each_other() {
    FILE.assert_independent_of_stores("[forms.website]");
}

#[test]
fn a_page_after_the_form_is_an_https_address_of_a_form_that_a_browser_posts() {
    const PAGE: &str = "thanks_url = \"https://www.acme.example/thanks\"";
    let verify = "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }";
    FILE.assert_one_finding(
        verify,
        &format!("{verify}\n{PAGE}"),
        PAGE,
        "warning",
        &["a browser sends no secret header"],
    );
    let by_browser = format!("verify = {{ scheme = \"secret-path\" }}\n{PAGE}");
    assert_eq!(list_findings(&GOOD.replace(verify, &by_browser)), Vec::<String>::new());
    let insecure = GOOD.replace(verify, &by_browser.replace("https", "http"));
    assert!(list_findings(&insecure)[0].contains("is not an https address"));
}

#[test]
fn a_form_has_a_unique_name_a_line_and_countries() {
    FILE.assert_one_finding(
        "[forms.typeform]",
        "[forms.Typeform]",
        "[forms.Typeform]",
        "error",
        &["URL", "lower-case"],
    );
    let long = format!("[forms.{}]", "x".repeat(41));
    FILE.assert_one_finding("[forms.typeform]", &long, &long, "error", &["at most 40"]);
    let store = "[stores.typeform]\nkind = \"shopify\"\nline = \"main\"\nshop_domain = \"acme.myshopify.com\"\n\n\
                 [messages.ready]\nuseful_for = \"2d\"\ntext.he = \"א\"\ntext.en = \"a\"\n\n[forms.typeform]";
    let same = ["there is a store `typeform` too", "tellonce/acme/webhooks/typeform"];
    FILE.assert_one_finding("[forms.typeform]", store, "[forms.typeform]", "error", &same);
    let calendar = "[calendars.hub]\nkind = \"calcom\"\nline = \"main\"\n\
                    reminders = { 2h = { text = { he = \"א\", en = \"a\" } } }\n\n[forms.hub]";
    FILE.assert_one_finding("[forms.hub]", calendar, "[forms.hub]", "error", &["there is a calendar `hub` too"]);
    FILE.assert_one_finding(
        "line = \"main\"",
        "line = \"mian\"",
        "line = \"mian\"",
        "error",
        &["did you mean `main`?"],
    );
    FILE.assert_one_finding("\"Acme Courses\"", "\" \"", "name = \" \"", "error", &["the form's name is empty"]);
    let with = |more: &str| format!("kind = \"typeform\"\n{more}");
    let country = "country = \"Israel\"";
    FILE.assert_one_finding("kind = \"typeform\"", &with(country), country, "error", &["two-letter"]);
    FILE.assert_one_finding("[\"IL\", \"US\"]", "[\"IL\", \"XX\"]", "countries", "error", &["`XX`", "two-letter"]);
    FILE.assert_one_finding("[\"IL\", \"US\"]", "[\"IL\", \"us\"]", "countries", "error", &["write `US`"]);
    FILE.assert_one_finding("[\"IL\", \"US\"]", "[\"IL\", \"IL\"]", "countries", "warning", &["`IL` is listed twice"]);
    FILE.assert_one_finding("[\"IL\", \"US\"]", "[\"US\"]", "countries", "warning", &["counts as one of `IL`"]);
    FILE.assert_one_finding(
        "language = \"he\"",
        "language = \"ru\"",
        "language = \"ru\"",
        "error",
        &["in `ru`", "`he`, `en`"],
    );
}

#[test]
fn forms_that_share_an_id_scope_must_both_name_it() {
    let both = |website: &str, typeform: &str| {
        list_findings(&FILE.edit("id_scope = \"website\"\n", website).replacen(
            "id_scope = \"typeform\"\n",
            typeform,
            1,
        ))
    };
    let written = "id_scope = \"main\"\n";
    assert_eq!((both("", "").len(), both("", written).len(), both(written, written).len()), (2, 1, 0));
    let silent = both("", written);
    assert!(silent[0].contains("this form shares the id scope `main` with `typeform`"), "{silent:#?}");
    assert!(silent[0].contains("only one of them is greeted"), "{silent:#?}");
    FILE.assert_one_finding(
        "id_scope = \"hub\"",
        "id_scope = \"The Hub\"",
        "id_scope = \"The Hub\"",
        "error",
        &["name of an id scope", "idempotency keys"],
    );
}

#[test]
fn a_form_uses_the_best_proof_its_sender_offers() {
    FILE.assert_one_finding("X-Webhook-Token", "X Token", "verify", "error", &["HTTP header"]);
    let path = "kind = \"typeform\"\nverify = { scheme = \"secret-path\" }";
    FILE.assert_one_finding(
        "kind = \"typeform\"",
        path,
        "scheme = \"secret-path\"",
        "warning",
        &["better proof", "\"signature\""],
    );
    let meta = "kind = \"meta\"\nverify = { scheme = \"secret-path\" }";
    FILE.assert_one_finding(
        "kind = \"typeform\"",
        meta,
        "scheme = \"secret-path\"",
        "error",
        &["before it posts", "Meta signs"],
    );
    let url = "https://hooks.acme.co.il/leads/hub";
    FILE.assert_one_finding(
        url,
        "http://hooks.acme.co.il/leads/hub",
        "notification_url",
        "error",
        &["HubSpot", "https://"],
    );
    FILE.assert_one_finding(url, "https://hooks.acme.co.il/hubspot", "notification_url", "warning", &["/leads/hub"]);
    let refused = FILE.findings_after("kind = \"typeform\"", "kind = \"jotform\"\nverify = { scheme = \"signature\" }");
    assert!(refused[0].contains("a jotform form does not sign"), "{refused:#?}");
}

#[test]
fn retention_outlasts_the_retry_window_of_forms() {
    let kinds = [
        ("typeform", 1),
        ("google-ads", 7),
        ("meta", 2),
        ("webflow", 1),
        ("tally", 2),
        ("hubspot", 4),
        ("web", 7),
        ("jotform", 1),
        ("elementor", 1),
        ("wpforms", 1),
    ];
    for (kind, days) in kinds {
        let findings_with_retention = |days: u16| {
            let signs = !matches!(kind, "web" | "wpforms" | "hubspot");
            let proof = if signs { "" } else { "\nverify = { scheme = \"static-header\", header = \"x\" }" };
            let form = GOOD.find("[forms.website]").unwrap();
            let file =
                GOOD[..form].replace("[lines.main]", &format!("[retention]\ninbox_days = {days}\n\n[lines.main]"));
            list_findings(&format!(
                "{file}[forms.one]\nkind = \"{kind}\"\nline = \"main\"{proof}\nconsent = {{ field = \"agreed\" }}\n\
                 first_touch = {{ useful_for = \"2d\", text = {{ he = \"תודה\", en = \"Thanks\" }} }}\n"
            ))
        };
        assert!(findings_with_retention(days).is_empty(), "{kind}: {:#?}", findings_with_retention(days));
        if days > 1 {
            let short = findings_with_retention(days - 1);
            assert!(short.len() == 1 && short[0].contains("forgets too soon for the form `one`"), "{kind}: {short:#?}");
        }
    }
}

#[test]
fn a_consent_sentence_on_one_form_does_not_cover_another() {
    let form = GOOD.find("[forms.website]").unwrap();
    let stated = |settings: &str| {
        list_findings(&format!(
            "{}[forms.one]\n{settings}\nline = \"main\"\nconsent = {{ stated = \"…\" }}\n\
             first_touch = {{ useful_for = \"2d\", text = {{ he = \"תודה\", en = \"Thanks\" }} }}\n",
            &GOOD[..form]
        ))
    };
    assert!(stated("kind = \"meta\"")[0].contains("posts for every form"));
    assert!(stated("kind = \"meta\"\nform_ids = [\"123\"]").is_empty());
    assert!(stated("kind = \"typeform\"").is_empty());
    let hubspot = stated("kind = \"hubspot\"\nverify = { scheme = \"static-header\", header = \"x\" }");
    assert!(hubspot[0].contains("imported ones too"), "{hubspot:#?}");
}

#[test]
fn fields_are_named_or_left_to_be_found() {
    FILE.assert_one_finding("phone = \"tel\"", "phone = \" \"", "fields = {", "error", &["the field of phone"]);
    FILE.assert_one_finding(
        "id = \"lead_id\"",
        "submitted_at = \"\"",
        "fields = {",
        "error",
        &["the field of submitted_at"],
    );
    FILE.assert_one_finding("phone = \"tel\"", "phon = \"tel\"", "fields = {", "error", &["did you mean `phone`?"]);
    FILE.assert_one_finding("[\"contact\"]", "[\"contact\", \"\"]", "form_ids", "error", &["a form's id is empty"]);
    let some = "form_ids = [\"a\"]";
    for (kind, holds) in [
        ("kind = \"web\"", ["unless the sender is configured to name it", "as `form_id`"]),
        ("kind = \"hubspot\"", ["HubSpot's events do not name", "let a workflow post"]),
    ] {
        FILE.assert_one_finding(kind, &format!("{kind}\n{some}"), some, "warning", &holds);
    }
    let workflow = "verify = { scheme = \"static-header\", header = \"X-Token\" }\nform_ids = [\"a\"]";
    FILE.assert_one_finding(
        "notification_url = \"https://hooks.acme.co.il/leads/hub\"",
        workflow,
        some,
        "warning",
        &["is configured to name it"],
    );
    for kind in ["wpforms", "contact-form-7"] {
        let named = format!("kind = \"{kind}\"\n{some}");
        FILE.assert_one_finding(
            "kind = \"web\"",
            &named,
            some,
            "warning",
            &["unless the sender is configured to name it"],
        );
    }
    let numbered = "fields = { phone = \"3\", first_name = \"1.3\" }";
    FILE.assert_one_finding(
        "phone = \"3\", ",
        "",
        "fields = { first_name",
        "error",
        &["no phone number", "phone = \"3\""],
    );
    FILE.assert_one_finding(
        ", first_name = \"1.3\"",
        "",
        "fields = { phone = \"3\" }",
        "warning",
        &["no lead is greeted by name"],
    );
    assert!(FILE.findings_after("first_name = \"1.3\"", "name = \"1\"").is_empty());
    assert_eq!(FILE.findings_after(numbered, "").len(), 2);
}

#[test]
fn a_lead_without_consent_is_never_greeted() {
    let rule = "{ field = \"whatsapp\", accepts = [\"I agree\"] }";
    FILE.assert_one_finding(rule, "{ field = \" \" }", "consent", "error", &["no name"]);
    FILE.assert_one_finding("\"I agree\"", "\"\"", "consent", "error", &["an empty field would count as consent"]);
    for no in ["No", "off", "0", "לא"] {
        FILE.assert_one_finding(
            "\"I agree\"",
            &format!("\"{no}\""),
            "consent",
            "error",
            &["was not ticked", "a lead who refused"],
        );
    }
    FILE.assert_one_finding(rule, "{ stated = \" \" }", "consent", "error", &["no lead consents"]);
    FILE.assert_one_finding(rule, "{ stated = \"a\", field = \"b\" }", "consent", "error", &["needs either a field"]);
    FILE.assert_one_finding(
        "consent = { field = \"4.1\" }\n",
        "",
        "[forms.gravity]",
        "error",
        &["`consent` is missing here", "consent = { field = \"…\" }", "consent = { stated = \"…\" }"],
    );
}

#[test]
fn limits_and_repeats_stay_in_their_range() {
    FILE.assert_one_finding("leads = 2,", "leads = 0,", "per_phone", "error", &["1 to 100000"]);
    FILE.assert_one_finding("leads = 20", "leads = 100001", "burst", "error", &["1 to 100000"]);
    let number = ["this is a text, and should be a whole number", "write a number without quotes"];
    FILE.assert_one_finding("leads = 20", "leads = \"20\"", "burst", "error", &number);
    FILE.assert_one_finding("within = \"10m\"", "within = \"8d\"", "burst", "error", &["\"1m\" to \"7d\""]);
    FILE.assert_one_finding("within = \"1d\"", "within = \"8d\"", "per_phone", "error", &["\"1m\" to \"7d\""]);
    for within in ["59m", "91d"] {
        FILE.assert_one_finding("\"14d\"", &format!("\"{within}\""), "repeat", "error", &["\"1h\" to \"90d\""]);
    }
    let edited_file =
        FILE.edit("\"14d\"", "\"60d\"").replace("[lines.main]", "[retention]\nledger_days = 40\n\n[lines.main]");
    let forgotten = list_findings(&edited_file);
    assert!(forgotten.len() == 1 && forgotten[0].contains("retention.ledger_days (40 days)"), "{forgotten:#?}");
    let nothing = ["this has no effect", "across = \"form\""];
    FILE.assert_one_finding("across = \"form\", ", "", "per_phone", "warning", &nothing);
    FILE.assert_one_finding("across = \"form\"", "across = \"froms\"", "repeat", "error", &["did you mean `forms`?"]);
    let unwritten = FILE.edit("across = \"form\", ", "").replace("per_phone = { leads = 2, within = \"1d\" }\n", "");
    assert!(list_findings(&unwritten).is_empty(), "{:#?}", list_findings(&unwritten));
}

#[test]
fn a_choice_is_one_of_a_list() {
    FILE.assert_one_finding("\"course\"", "\"\"", "choice =", "error", &["no name"]);
    FILE.assert_one_finding("[\"Wheel\", \"Glaze\"]", "[]", "choice =", "error", &["the choice has no answers"]);
    FILE.assert_one_finding("\"Glaze\"", "\" \"", "choice =", "error", &["an answer is empty"]);
    FILE.assert_one_finding("\"Glaze\"", "\"Wheel\"", "choice =", "error", &["`Wheel` is listed twice"]);
    let none = FILE.edit("choice = { field = \"course\", of = [\"Wheel\", \"Glaze\"] }\n", "");
    let found = list_findings(&none);
    let line = none.lines().position(|line| line.contains("You asked about")).unwrap() + 1;
    assert!(found.len() == 1 && found[0].starts_with(&format!("{line} error `choice` has no value")), "{found:#?}");
}

#[test]
fn a_first_touch_is_sent_soon() {
    FILE.assert_one_finding(
        "\"1d\"\ntext",
        "\"8d\"\ntext",
        "useful_for = \"8d\"",
        "warning",
        &["after 8 days", "too late for an answer"],
    );
    FILE.assert_one_finding("\"1d\"\ntext", "\"5m\"\ntext", "useful_for = \"5m\"", "warning", &["shortest outage"]);
    let year = only_finding_after("\"1d\"\ntext", "\"400d\"\ntext");
    assert!(year[0].contains("forgotten before it is sent"), "{year:#?}");
    FILE.assert_one_finding(
        "useful_for = \"1d\"",
        "useful_for = \"1d\"\npriority = 101",
        "priority",
        "error",
        &["more than 100"],
    );
    let quiet = "[quiet_hours]\nfrom = \"21:00\"\nto = \"08:00\"\n\n[lines.main]";
    let short = FILE.edit("\"1d\"\ntext", "\"3h\"\ntext").replace("[lines.main]", quiet);
    assert!(list_findings(&short)[0].contains("the start of the quiet hours"), "{:#?}", list_findings(&short));
}

fn only_finding_after(from: &str, to: &str) -> Vec<String> {
    let found = FILE.findings_after(from, to);
    assert_eq!(found.len(), 1, "{found:#?}");
    found
}

#[test]
fn texts_of_a_first_touch_know_the_lead_and_not_the_order() {
    FILE.assert_one_finding(
        "{{ choice }}.",
        "{{ chioce }}.",
        "chioce",
        "error",
        &["texts have no variable `chioce`", "did you mean `choice`?"],
    );
    FILE.assert_one_finding(
        "{{ choice }}.",
        "{{ order_number }}.",
        "order_number",
        "error",
        &["`order_number` has no value in texts about a lead", "`business_name`, `name`, `first_name`, `choice`"],
    );
    FILE.assert_one_finding(
        "{% if first_name %} {{ first_name }}{% endif %}",
        " {{ first_name }}",
        "{{ first_name }}",
        "warning",
        &["a lead without `first_name`"],
    );
    FILE.assert_one_finding(
        "תודה שפנית אל {{ business_name }}",
        "{% if name %}{{ name }}{% endif %}",
        "text.he = \"{%",
        "warning",
        &["for a lead without any of these values"],
    );
    FILE.assert_one_finding(
        "text.he = \"תודה שפנית אל {{ business_name }}\"\n",
        "",
        "text.en",
        "error",
        &["missing in `he`"],
    );
    FILE.assert_one_finding("thank you!", &"very ".repeat(900), "text.en", "error", &["longer than 4096"]);
    let useful = "useful_for = \"1d\"";
    FILE.assert_one_finding(
        useful,
        "useful_for = \"1d\"\ndocument = \"invoice_url\"",
        "document",
        "error",
        &["a lead has no link"],
    );
    let button = "useful_for = \"1d\"\nbutton = { url = \"order_url\", text = { he = \"א\", en = \"a\" } }";
    FILE.assert_one_finding(useful, button, "button", "error", &["so it can have no button", "into the text"]);
    let order = super::GOOD.replace("{{ order_number }} is ready", "{{ choice }} is ready");
    assert!(list_findings(&order)[0].contains("`choice` has no value in texts about an order"));
}

#[test]
fn lists_and_sequences_are_refused() {
    for setting in ["import", "contacts_file", "csv", "list", "mailing-lists"] {
        let asked = format!("kind = \"typeform\"\n{setting} = \"leads.csv\"");
        let path = format!("`forms.typeform.{setting}` is refused");
        FILE.assert_one_finding(
            "kind = \"typeform\"",
            &asked,
            setting,
            "error",
            &[&path, "one person", "docs/boundaries.md"],
        );
    }
    for setting in ["sequence", "follow_ups", "drip", "cadence"] {
        let asked = format!("kind = \"typeform\"\n{setting} = [\"1d\", \"3d\"]");
        FILE.assert_one_finding("kind = \"typeform\"", &asked, setting, "error", &["one first touch", "decisions.md"]);
    }
    FILE.assert_one_finding(
        "kind = \"typeform\"",
        "kind = \"typeform\"\naudience = \"all\"",
        "audience",
        "error",
        &["campaign surface"],
    );
    assert!(FILE.findings_after("[forms.typeform]", "[forms.list]").is_empty(), "a form's name is the client's own");
}
