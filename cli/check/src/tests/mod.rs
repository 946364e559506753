use super::*;

mod calendars;
mod conversations;
mod forms;

/// A file without findings. Each test breaks one thing in it.
const GOOD: &str = r#"client = "acme"
name = "Acme"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line_acme"

[stores.shop]
kind = "shopify"
line = "main"
shop_domain = "acme.myshopify.com"

[messages.ready]
useful_for = "2d"
button = { url = "order_url", text = { he = "הזמנה", en = "Order" } }
text.he = "הזמנה {{ order_number }} מוכנה"
text.en = """
Hello{% if name %} {{ name }}{% endif %},
order {{ order_number }} is ready.
"""
"#;

const WOO: &str = r#"
[stores.woo]
kind = "woocommerce"
line = "main"
id_scope = "woo"
source = "https://shop.example.co.il/"

[stores.woo.statuses]
processing = "paid"
ready-for-pickup = "ready"
"#;

const ERP: &str = r#"
[stores.erp]
kind = "custom"
line = "main"
id_scope = "erp"
verify = { scheme = "static-header", header = "X-Webhook-Token" }

[stores.erp.fields]
event = "/event"
order_id = "/id"
phone = "/phone"

[stores.erp.fields.values]
total = "/total"

[stores.erp.events]
"order.ready" = "ready"
"#;

/// The findings after one edit of a good file, each as `line severity problem → remedy`.
fn findings_after(from: &str, to: &str) -> Vec<String> {
    list_findings(&edit(&format!("{GOOD}{WOO}{ERP}"), from, to))
}

fn edit(good: &str, from: &str, to: &str) -> String {
    assert!(good.contains(from), "nothing to edit: {from}");
    good.replacen(from, to, 1)
}

fn list_findings(text: &str) -> Vec<String> {
    let show = |finding: Finding| {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        format!("{} {severity} {} → {}", finding.line, finding.problem, finding.remedy)
    };
    check_file(text).findings.into_iter().map(show).collect()
}

/// Asserts that one edit has one finding, which begins with `begins` and contains all of `holds`.
fn assert_one_finding(from: &str, to: &str, begins: &str, holds: &[&str]) {
    assert_one_of(&findings_after(from, to), begins, holds);
}

/// Asserts that there is one finding, which begins with `begins` and contains all of `holds`.
fn assert_one_of(found: &[String], begins: &str, holds: &[&str]) {
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(begins), "not {begins}: {found:#?}");
    for words in holds {
        assert!(found[0].contains(words), "`{words}` is not in {found:#?}");
    }
}

/// A good file, which each test breaks by one edit.
struct BaseFile(&'static str);

impl BaseFile {
    fn edit(&self, from: &str, to: &str) -> String {
        edit(self.0, from, to)
    }

    /// The findings after one edit, each without its line: `severity problem → remedy`.
    fn findings_after(&self, from: &str, to: &str) -> Vec<String> {
        list_findings(&self.edit(from, to)).iter().map(|found| found.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// Asserts that one edit has one finding, on the first line that contains `place`, with this
    /// severity and all of `holds`.
    fn assert_one_finding(&self, from: &str, to: &str, place: &str, severity: &str, holds: &[&str]) {
        let text = self.edit(from, to);
        let line = text.lines().position(|line| line.contains(place)).unwrap() + 1;
        assert_one_of(&list_findings(&text), &format!("{line} {severity} "), holds);
    }

    /// Asserts that the tables from `table` on may stand beside stores, and that a message without
    /// a store has a finding.
    fn assert_independent_of_stores(&self, table: &str) {
        let both = format!("{GOOD}{}", &self.0[self.0.find(table).unwrap()..]);
        assert_eq!(list_findings(&both), Vec::<String>::new());
        let message = format!("[messages.ready]\nuseful_for = \"2d\"\ntext.he = \"א\"\ntext.en = \"a\"\n\n{table}");
        let holds = ["no store ever reports `ready`"];
        self.assert_one_finding(table, &message, "[messages.ready]", "warning", &holds);
    }
}

#[test]
fn a_good_file_has_no_findings() {
    assert_eq!(list_findings(&format!("{GOOD}{WOO}{ERP}")), Vec::<String>::new());
    assert!(check_file(GOOD).config.is_some());
}

#[test]
fn the_demo_has_no_findings() {
    assert_eq!(list_findings(include_str!("../../../../clients/demo/client.toml")), Vec::<String>::new());
}

#[test]
fn the_client_has_an_id_a_name_a_country_and_a_zone() {
    for id in ["Acme", "a", "1acme", "acme-", "ac me", "acme_shop"] {
        assert_one_finding(r#"client = "acme""#, &format!(r#"client = "{id}""#), "1 error", &[id, "letter first"]);
    }
    assert_one_finding(r#"name = "Acme""#, r#"name = " ""#, "2 error", &["empty"]);
    for country in ["XX", "Israel", "972", ""] {
        assert_one_finding(r#""IL""#, &format!(r#""{country}""#), "3 error", &["two-letter code"]);
    }
    assert_one_finding("Asia/Jerusalem", "Asia/Jeruslem", "4 error", &["did you mean `Asia/Jerusalem`?"]);
    assert_one_finding("Asia/Jerusalem", "Middle Earth", "4 error", &["write it like"]);
}

#[test]
fn languages_are_codes_and_every_text_exists_in_each() {
    assert_one_finding(r#"["he", "en"]"#, "[\"he\", \"en\", \"he\"]", "5 warning", &["listed twice"]);
    // What follows from a wrong code is not reported for each text.
    assert_one_finding(r#"["he", "en"]"#, r#"["iw", "en"]"#, "5 error", &["write `he`"]);
    let more = findings_after(r#"["he", "en"]"#, r#"["he", "en", "ru"]"#);
    assert_eq!(more.len(), 2, "{more:#?}");
    assert!(more[0].starts_with("17 error the button of `ready` is missing in `ru`"), "{more:#?}");
    assert!(more[1].starts_with("18 error the text of `ready` is missing in `ru`"), "{more:#?}");
    let none = findings_after(r#"["he", "en"]"#, "[]");
    assert!(none[0].starts_with("5 error there is no language"), "{none:#?}");
    assert_one_finding("text.he =", "text.ru = \"Заказ\"\ntext.he =", "18 warning", &["no message is sent in `ru`"]);
}

#[test]
fn quiet_hours_must_begin_and_end() {
    let hours = |hours: &str| format!("languages = [\"he\", \"en\"]\n{hours}");
    let from = r#"languages = ["he", "en"]"#;
    assert_one_finding(
        from,
        &hours(r#"quiet_hours = { from = "21:00", to = "21:00" }"#),
        "6 error",
        &["there are none"],
    );
    assert_one_finding(
        from,
        &hours(r#"quiet_hours = { from = "21.00", to = "8" }"#),
        "6 error",
        &["is not a time of day"],
    );
    assert!(findings_after(from, &hours(r#"quiet_hours = { from = "21:00", to = "08:00" }"#)).is_empty());
}

#[test]
fn a_message_outlives_the_quiet_hours_or_is_sent_during_them() {
    let findings_for = |more: &str| {
        let good = GOOD.replace(r#"useful_for = "2d""#, &format!("useful_for = \"11h\"{more}"));
        list_findings(&good.replace("[lines.main]", "[quiet_hours]\nfrom = \"21:00\"\nto = \"08:00\"\n\n[lines.main]"))
    };
    assert!(
        findings_for("")[0].starts_with("20 warning a message from the start of the quiet hours"),
        "{:#?}",
        findings_for("")
    );
    assert!(findings_for("\nquiet_hours = \"ignore\"").is_empty());
    let before = findings_for("\nquiet_hours = \"before\"");
    assert!(
        before.iter().any(|it| it.contains("error only a reminder can be sent before the quiet hours")),
        "{before:#?}"
    );
}

#[test]
fn retention_outlasts_the_retry_window_of_stores() {
    let findings_with_retention =
        |keep: &str| findings_after("[lines.main]", &format!("[retention]\n{keep}\n\n[lines.main]"));
    let short = findings_with_retention("inbox_days = 3");
    assert_eq!(short.len(), 1, "{short:#?}");
    assert!(short[0].starts_with("8 error the inbox forgets too soon for the store `erp`"), "{short:#?}");
    assert_eq!(findings_with_retention("inbox_days = 1").len(), 2);
    assert!(findings_with_retention("inbox_days = 400")[0].contains("cannot keep deliveries for 400 days"));
    assert!(
        findings_with_retention("inbox_days = 60\nledger_days = 40")[0]
            .starts_with("9 error the ledger forgets before the inbox does")
    );
    assert!(findings_with_retention("ledger_days = 10").iter().any(|found| found.contains("30 to 3650")));
}

#[test]
fn lines_have_unique_ids_and_a_cautious_message_rate() {
    assert_one_finding("line_acme", " ", "8 error", &["X-EZW-Line-Id"]);
    for rate in ["0", "61", "600"] {
        assert_one_finding(
            "\"line_acme\"",
            &format!("\"line_acme\"\nmessages_per_minute = {rate}"),
            "9 error",
            &["one a second"],
        );
    }
    assert_one_finding("\"line_acme\"", "\"line_acme\"\nmessages_per_minute = 30", "9 warning", &["cautious"]);
    assert_one_finding(
        "\"line_acme\"",
        "\"line_acme\"\nmedia = \"attachment-experimental\"",
        "9 warning",
        &["tellonce assumes"],
    );
    assert_one_finding(
        "\"line_acme\"",
        "\"line_acme\"\n[lines.spare]\nline_id = \"line_2\"",
        "9 warning",
        &["no store, calendar or form uses"],
    );
    let twins = findings_after("\"line_acme\"", "\"line_acme\"\n[lines.spare]\nline_id = \"line_acme\"");
    assert!(twins.iter().any(|found| found.starts_with("10 error the line `main` has the same id")), "{twins:#?}");
    assert_one_finding(
        "line = \"main\"",
        "line = \"mian\"",
        "12 error",
        &["there is no line `mian`", "did you mean `main`?"],
    );
}

#[test]
fn stores_that_share_an_id_scope_must_both_name_it() {
    let one_implicit = findings_after("id_scope = \"woo\"", "id_scope = \"main\"");
    assert_eq!(one_implicit.len(), 1, "{one_implicit:#?}");
    assert!(
        one_implicit[0].starts_with("10 error this store shares the id scope `main` with `woo`"),
        "{one_implicit:#?}"
    );
    let both_implicit = findings_after("id_scope = \"woo\"\n", "");
    assert_eq!(both_implicit.len(), 2, "{both_implicit:#?}");
    let both_explicit = list_findings(
        &format!("{GOOD}{WOO}")
            .replace("kind = \"shopify\"", "kind = \"shopify\"\nid_scope = \"main\"")
            .replace("id_scope = \"woo\"", "id_scope = \"main\""),
    );
    assert!(both_explicit.is_empty(), "{both_explicit:#?}");
    assert_one_finding("id_scope = \"woo\"", "id_scope = \"Woo Shop\"", "27 error", &["idempotency keys"]);
}

#[test]
fn a_shopify_store_is_named_by_its_permanent_domain() {
    for domain in ["acme.co.il", "https://acme.myshopify.com", ".myshopify.com", "acme.myshopify.com/"] {
        assert_one_finding("acme.myshopify.com", domain, "13 error", &[".myshopify.com"]);
    }
}

#[test]
fn a_woocommerce_store_is_named_by_its_home_url_and_maps_plain_statuses() {
    for source in
        ["http://shop.example.co.il/", "https://shop.example.co.il", "shop.example.co.il/", "https://a.b/?c=/"]
    {
        assert_one_finding("https://shop.example.co.il/", source, "28 error", &["X-WC-Webhook-Source"]);
    }
    assert_one_finding("processing = \"paid\"", "wc-processing = \"paid\"", "31 error", &["write `processing`"]);
    assert_one_finding("processing = \"paid\"", "\"Ready for pickup\" = \"ready\"", "31 error", &["slug"]);
    assert_one_finding("processing = \"paid\"", "processing = \"payed\"", "31 error", &["`payed`"]);
    let unpaid = ["on-hold", "never sent"];
    assert_one_finding("processing = \"paid\"", "on-hold = \"paid\"", "31 warning", &unpaid);
    let none = findings_after("processing = \"paid\"\nready-for-pickup = \"ready\"\n", "");
    assert!(none[0].contains("no order status is mapped to a milestone"), "{none:#?}");
}

#[test]
fn a_custom_store_has_a_header_events_and_pointers() {
    assert_one_finding("X-Webhook-Token", "X Webhook Token", "38 error", &["HTTP header"]);
    assert_one_finding("phone = \"/phone\"", "phone = \"phone\"", "43 error", &["is not a JSON pointer"]);
    assert_one_finding("phone = \"/phone\"", "phone = \"/pho~ne\"", "43 error", &["~0"]);
    assert_one_finding(
        "total = \"/total\"",
        "totl = \"/total\"",
        "46 error",
        &["no variable `totl`", "did you mean `total`?"],
    );
    assert_one_finding(
        "total = \"/total\"",
        "first_name = \"/n\"",
        "46 error",
        &["write it as `name` in [stores.erp.fields]"],
    );
    assert_one_finding("total = \"/total\"", "store_name = \"/n\"", "46 error", &["[stores.erp]"]);
    let none = findings_after("\"order.ready\" = \"ready\"\n", "");
    assert!(none[0].contains("no event is mapped to a milestone"), "{none:#?}");
}

#[test]
fn a_template_is_compiled_and_its_variables_are_known() {
    assert_one_finding(
        "הזמנה {{ order_number }}",
        "הזמנה {{ order_nubmer }}",
        "18 error",
        &["did you mean `order_number`?"],
    );
    assert_one_finding(
        "order {{ order_number }} is",
        "order {{ parcel }} is",
        "21 error",
        &["no variable `parcel`", "known here"],
    );
    assert_one_finding(
        "order {{ order_number }} is",
        "order {{ order_number is",
        "21 error",
        &["the template is wrong here"],
    );
    assert_one_finding("{% endif %},", "{% endif %}, {{ total.amount.x }}", "20 error", &["no value"]);
}

#[test]
fn an_optional_value_must_be_tested_for() {
    assert_one_finding(
        "order {{ order_number }} is",
        "order of {{ total }} is",
        "21 warning",
        &["without `total`", "{% if total %}"],
    );
    let two = findings_after("מוכנה", "{{ name }} {{ pickup_until }}");
    assert_eq!(two.len(), 2, "{two:#?}");
}

#[test]
fn texts_and_buttons_stay_within_whatsapps_limits() {
    assert_one_finding("en = \"Order\"", "en = \"See your order right here\"", "17 error", &["20 characters"]);
    assert_one_finding(
        "en = \"Order\"",
        "en = \"Order {{ order_number }}\"",
        "17 warning",
        &["when the values in it are long"],
    );
    assert_one_finding("en = \"Order\"", "en = \"\"", "17 error", &["1 to 20"]);
    assert_one_finding("is ready.", &"very ".repeat(900), "19 error", &["longer than 4096"]);
    assert_one_finding(
        "הזמנה {{ order_number }} מוכנה",
        "{% if total %}{{ total }}{% endif %}",
        "18 warning",
        &["the text is empty"],
    );
    assert_one_finding("הזמנה {{ order_number }} מוכנה", " ", "18 error", &["the text is empty"]);
}

#[test]
fn buttons_and_documents_name_variables_that_hold_links() {
    assert_one_finding("url = \"order_url\"", "url = \"order_ulr\"", "17 error", &["did you mean `order_url`?"]);
    assert_one_finding("url = \"order_url\"", "url = \"total\"", "17 error", &["`total` is not a link"]);
    assert_one_finding(
        "useful_for = \"2d\"",
        "useful_for = \"2d\"\ndocument = \"invoice\"",
        "17 error",
        &["texts have no variable `invoice`"],
    );
}

#[test]
fn order_messages_are_useful_for_a_sensible_time() {
    assert_one_finding("\"2d\"", "\"30d\"", "16 warning", &["too late to be useful"]);
    assert_one_finding("\"2d\"", "\"5m\"", "16 warning", &["shortest outage"]);
    assert_one_finding("\"2d\"", "\"500d\"", "16 error", &["forgotten before it is sent"]);
}

#[test]
fn unreported_milestones_and_unsent_messages_are_found() {
    let invoice = "[messages.invoice]\nuseful_for = \"1d\"\ntext.he = \"א\"\ntext.en = \"a\"\n\n[messages.ready]";
    assert_one_finding("[messages.ready]", invoice, "15 warning", &["no store ever reports `invoice`"]);
    assert_one_finding("ready-for-pickup = \"ready\"\n", "", "24 warning", &["no report of this store is ever sent"]);
    let bare = list_findings(&GOOD[..GOOD.find("[stores.shop]").unwrap()]);
    assert!(bare[0].contains("there is no store, calendar or form"), "{bare:#?}");
    assert_eq!(bare.len(), 2, "{bare:#?}");
    let mute = list_findings(&GOOD[..GOOD.find("[messages.ready]").unwrap()]);
    assert!(mute[0].contains("there is no message") && mute.len() == 1, "{mute:#?}");
}

#[test]
fn a_refused_setting_is_an_error_that_says_why() {
    for (text, name) in [
        ("[campaigns]\nname = \"Black Friday\"\naudience = \"all\"\n\n[lines.main]", "`campaigns`"),
        ("[[broadcast]]\ntext = \"x\"\n\n[lines.main]", "`broadcast`"),
        ("[groups.vip]\nid = 1\n\n[lines.main]", "`groups`"),
        ("[bot]\n\n[lines.main]", "`bot`"),
        ("[lines.main]\nowner = \"dana\"", "`lines.main.owner`"),
        ("[lines.main]\nauto-reply = \"hi\"", "`lines.main.auto-reply`"),
        ("[messages.campaign]\nuseful_for = \"1d\"\n\n[lines.main]", "`messages.campaign`"),
    ] {
        assert_one_finding(
            "[lines.main]",
            text,
            if text.starts_with("[lines") { "8 error" } else { "7 error" },
            &[name, "decisions.md"],
        );
    }
    assert_one_finding(
        "line = \"main\"",
        "line = \"main\"\nassign = \"dana\"",
        "13 error",
        &["`stores.shop.assign`", "in EZWhatsApp alone"],
    );
}

#[test]
fn the_names_of_a_shops_statuses_and_events_are_free() {
    assert!(findings_after("processing = \"paid\"", "bot = \"paid\"\ngroup = \"ready\"").is_empty());
    assert!(findings_after("\"order.ready\" = \"ready\"", "campaigns = \"ready\"").is_empty());
}

#[test]
fn a_secret_in_the_file_is_an_error_that_does_not_repeat_it() {
    assert_one_finding(
        "line_acme\"",
        "line_acme\"\ntoken = \"abc\"",
        "9 error",
        &["`lines.main.token`", "Secrets Manager"],
    );
    let found = findings_after("\"line_acme\"", "\"ezw_line_verysecret\"");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("8 error this looks like a secret") && !found[0].contains("verysecret"), "{found:#?}");
}

#[test]
fn every_wrong_key_is_reported_at_once_beside_everything_else() {
    let found = list_findings(
        &GOOD
            .replace("country = \"IL\"", "country = \"XX\"\ncolour = \"red\"")
            .replace("line_id =", "pace = 3\nline_id =")
            .replace("[messages.ready]", "[messages.redy]\nuseful_for = \"1h\"\n\n[messages.ready]"),
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].starts_with("3 error `XX`"), "{found:#?}");
    assert!(found[1].starts_with("4 error `colour` is not a setting of a client.toml"), "{found:#?}");
    assert!(found[2].starts_with("9 error `pace` is not a setting of `lines.main`"), "{found:#?}");
    assert!(found[3].contains("`redy` is not a milestone of an order → did you mean `ready`?"), "{found:#?}");
}

#[test]
fn an_unloadable_file_is_reported_with_line_and_remedy() {
    assert_one_finding("line_id = \"line_acme\"", "", "7 error", &["`line_id` is missing here", "add `line_id = …`"]);
    assert_one_finding("\"2d\"", "\"2 days\"", "16 error", &["is not a span of time"]);
    assert_one_finding("\"2d\"", "48", "16 error", &["this is a whole number", "write it in quotes"]);
    assert_one_finding("name = \"Acme\"", "name = \"Acme", "2 error", &["this is not TOML"]);
    assert_one_finding(
        "shop_domain = \"acme.myshopify.com\"",
        "",
        "10 error",
        &["a shopify store needs `shop_domain`"],
    );
    assert_one_finding("kind = \"shopify\"", "kind = \"shopfy\"", "11 error", &["did you mean `shopify`?"]);
    assert_one_finding("scheme = \"static-header\"", "scheme = \"hmac\"", "38 error", &["`hmac`"]);
}

#[test]
fn an_unloadable_file_gives_no_configuration() {
    assert!(check_file(&GOOD.replace("country", "land")).config.is_none());
    assert!(check_file(&GOOD.replace("[lines.main]", "[bot]\n[lines.main]")).config.is_none());
    assert!(check_file("client = ").config.is_none());
    assert!(check_file(&GOOD.replace("\"2d\"", "\"30d\"")).config.is_some());
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_check_panic(from in 0usize..30_000, length in 0usize..200, instead in "\\PC{0,12}|[a-z]{1,9} = |\\[{1,2}[a-z.]{1,9}\\]{0,2}|\"{1,3}|\\{[{%]? ?") {
        let demo: Vec<char> = include_str!("../../../../clients/demo/client.toml").chars().collect();
        let from = from.min(demo.len());
        let to = (from + length).min(demo.len());
        let text: String = demo[..from].iter().copied().chain(instead.chars()).chain(demo[to..].iter().copied()).collect();
        let lines = text.lines().count() + 1;
        for finding in check_file(&text).findings {
            proptest::prop_assert!((1..=lines).contains(&finding.line), "{finding:?}");
            proptest::prop_assert!(!finding.problem.is_empty() && !finding.remedy.is_empty());
        }
    }
}
