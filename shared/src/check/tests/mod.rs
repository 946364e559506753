use super::*;

mod calendars;
mod conversations;
mod forms;

/// A file without findings; each test breaks one thing in it.
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
order_book = "woo"
source = "https://shop.example.co.il/"

[stores.woo.statuses]
processing = "paid"
ready-for-pickup = "ready"
"#;

const ERP: &str = r#"
[stores.erp]
kind = "custom"
line = "main"
order_book = "erp"
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

/// The findings after one edit of a good file, each as `line severity what → remedy`.
fn after(from: &str, to: &str) -> Vec<String> {
    let good = format!("{GOOD}{WOO}{ERP}");
    assert!(good.contains(from), "nothing to edit: {from}");
    shown(&good.replacen(from, to, 1))
}

fn shown(text: &str) -> Vec<String> {
    let show = |finding: Finding| {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        format!("{} {severity} {} → {}", finding.line, finding.what, finding.remedy)
    };
    examine(text).findings.into_iter().map(show).collect()
}

/// The only finding after one edit begins with this line and severity, and holds these words.
fn one(from: &str, to: &str, begins: &str, holds: &[&str]) {
    let found = after(from, to);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(begins), "{found:#?}");
    for words in holds {
        assert!(found[0].contains(words), "`{words}` is not in {found:#?}");
    }
}

/// A good file, to be spoilt by one edit at a time.
struct Edits(&'static str);

impl Edits {
    fn edited(&self, from: &str, to: &str) -> String {
        assert!(self.0.contains(from), "nothing to edit: {from}");
        self.0.replacen(from, to, 1)
    }

    /// The findings after one edit, each without its line: `severity what → remedy`.
    fn after(&self, from: &str, to: &str) -> Vec<String> {
        shown(&self.edited(from, to)).iter().map(|found| found.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// The only finding after one edit stands on the first line that holds `place`, has this severity and these words.
    fn one(&self, from: &str, to: &str, place: &str, severity: &str, holds: &[&str]) {
        let text = self.edited(from, to);
        let found = shown(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        let line = text.lines().position(|line| line.contains(place)).unwrap() + 1;
        assert!(found[0].starts_with(&format!("{line} {severity} ")), "not {line} {severity}: {found:#?}");
        for words in holds {
            assert!(found[0].contains(words), "`{words}` is not in {found:#?}");
        }
    }
}

#[test]
fn a_good_file_has_no_findings() {
    assert_eq!(shown(&format!("{GOOD}{WOO}{ERP}")), Vec::<String>::new());
    let examined = examine(GOOD);
    assert!(check(GOOD, &examined.config.unwrap()).is_empty());
}

#[test]
fn the_demo_has_no_findings() {
    assert_eq!(shown(include_str!("../../../../clients/demo/client.toml")), Vec::<String>::new());
}

#[test]
fn the_client_has_an_id_a_name_a_country_and_a_zone() {
    for id in ["Acme", "a", "1acme", "acme-", "ac me", "acme_shop"] {
        one(r#"client = "acme""#, &format!(r#"client = "{id}""#), "1 error", &[id, "letter first"]);
    }
    one(r#"name = "Acme""#, r#"name = " ""#, "2 error", &["empty"]);
    for country in ["XX", "Israel", "972", ""] {
        one(r#""IL""#, &format!(r#""{country}""#), "3 error", &["two-letter code"]);
    }
    one("Asia/Jerusalem", "Asia/Jeruslem", "4 error", &["did you mean `Asia/Jerusalem`?"]);
    one("Asia/Jerusalem", "Middle Earth", "4 error", &["write it like"]);
}

#[test]
fn languages_are_codes_and_every_text_is_in_every_one() {
    one(r#"["he", "en"]"#, "[\"he\", \"en\", \"he\"]", "5 warning", &["there twice"]);
    let iw = after(r#"["he", "en"]"#, r#"["iw", "en"]"#);
    assert!(iw.iter().any(|found| found.starts_with("5 error") && found.contains("write `he`")), "{iw:#?}");
    let more = after(r#"["he", "en"]"#, r#"["he", "en", "ru"]"#);
    assert_eq!(more.len(), 2, "{more:#?}");
    assert!(more[0].starts_with("17 error the button of `ready` is missing in `ru`"), "{more:#?}");
    assert!(more[1].starts_with("18 error the text of `ready` is missing in `ru`"), "{more:#?}");
    let none = after(r#"["he", "en"]"#, "[]");
    assert!(none[0].starts_with("5 error there is no language"), "{none:#?}");
    one("text.he =", "text.ru = \"Заказ\"\ntext.he =", "18 warning", &["nobody is written to in `ru`"]);
}

#[test]
fn quiet_hours_must_begin_and_end() {
    let hours = |hours: &str| format!("languages = [\"he\", \"en\"]\n{hours}");
    let from = r#"languages = ["he", "en"]"#;
    one(from, &hours(r#"quiet_hours = { from = "21:00", to = "21:00" }"#), "6 error", &["there are none"]);
    one(from, &hours(r#"quiet_hours = { from = "21.00", to = "8" }"#), "6 error", &["is not a time of day"]);
    assert!(after(from, &hours(r#"quiet_hours = { from = "21:00", to = "08:00" }"#)).is_empty());
}

#[test]
fn a_message_outlives_the_quiet_hours_or_is_told_in_them() {
    let short = |more: &str| {
        let good = GOOD.replace(r#"useful_for = "2d""#, &format!("useful_for = \"11h\"{more}"));
        shown(&good.replace("[lines.main]", "[quiet_hours]\nfrom = \"21:00\"\nto = \"08:00\"\n\n[lines.main]"))
    };
    assert!(short("")[0].starts_with("20 warning what happens when the quiet hours begin"), "{:#?}", short(""));
    assert!(short("\neven_in_quiet_hours = true").is_empty());
}

#[test]
fn what_is_remembered_outlasts_what_senders_repeat() {
    let keep = |keep: &str| after("[lines.main]", &format!("[keep]\n{keep}\n\n[lines.main]"));
    let short = keep("inbox_days = 3");
    assert_eq!(short.len(), 1, "{short:#?}");
    assert!(short[0].starts_with("8 error the inbox forgets too soon for the store `erp`"), "{short:#?}");
    assert_eq!(keep("inbox_days = 1").len(), 2);
    assert!(keep("inbox_days = 400")[0].contains("cannot remember for 400 days"));
    assert!(
        keep("inbox_days = 60\nledger_days = 40")[0].starts_with("9 error the ledger forgets before the inbox does")
    );
    assert!(keep("ledger_days = 10").iter().any(|found| found.contains("30 to 3650")));
}

#[test]
fn lines_have_ids_of_their_own_and_a_human_pace() {
    one("line_acme", " ", "8 error", &["X-EZW-Line-Id"]);
    for pace in ["0", "61", "600"] {
        one("\"line_acme\"", &format!("\"line_acme\"\npace_per_minute = {pace}"), "9 error", &["one a second"]);
    }
    one("\"line_acme\"", "\"line_acme\"\npace_per_minute = 30", "9 warning", &["cautious"]);
    one("\"line_acme\"", "\"line_acme\"\nmedia = \"assumed\"", "9 warning", &["assumed"]);
    one(
        "\"line_acme\"",
        "\"line_acme\"\n[lines.spare]\nline_id = \"line_2\"",
        "9 warning",
        &["no store, calendar or form speaks"],
    );
    let twins = after("\"line_acme\"", "\"line_acme\"\n[lines.spare]\nline_id = \"line_acme\"");
    assert!(twins.iter().any(|found| found.starts_with("10 error the line `main` has the same id")), "{twins:#?}");
    one("line = \"main\"", "line = \"mian\"", "12 error", &["there is no line `mian`", "did you mean `main`?"]);
}

#[test]
fn stores_that_share_an_order_book_both_say_so() {
    let one_silent = after("order_book = \"woo\"", "order_book = \"main\"");
    assert_eq!(one_silent.len(), 1, "{one_silent:#?}");
    assert!(
        one_silent[0].starts_with("10 error this store shares the order book `main` with `woo`"),
        "{one_silent:#?}"
    );
    let both_silent = after("order_book = \"woo\"\n", "");
    assert_eq!(both_silent.len(), 2, "{both_silent:#?}");
    let both_say = shown(
        &format!("{GOOD}{WOO}")
            .replace("kind = \"shopify\"", "kind = \"shopify\"\norder_book = \"main\"")
            .replace("order_book = \"woo\"", "order_book = \"main\""),
    );
    assert!(both_say.is_empty(), "{both_say:#?}");
    one("order_book = \"woo\"", "order_book = \"Woo Shop\"", "27 error", &["idempotency keys"]);
}

#[test]
fn a_shopify_store_is_named_by_its_permanent_domain() {
    for domain in ["acme.co.il", "https://acme.myshopify.com", ".myshopify.com", "acme.myshopify.com/"] {
        one("acme.myshopify.com", domain, "13 error", &[".myshopify.com"]);
    }
}

#[test]
fn a_woocommerce_store_is_named_by_its_home_url_and_maps_plain_statuses() {
    for source in
        ["http://shop.example.co.il/", "https://shop.example.co.il", "shop.example.co.il/", "https://a.b/?c=/"]
    {
        one("https://shop.example.co.il/", source, "28 error", &["X-WC-Webhook-Source"]);
    }
    one("processing = \"paid\"", "wc-processing = \"paid\"", "31 error", &["write `processing`"]);
    one("processing = \"paid\"", "\"Ready for pickup\" = \"ready\"", "31 error", &["slug"]);
    one("processing = \"paid\"", "processing = \"payed\"", "31 error", &["`payed`"]);
    let none = after("processing = \"paid\"\nready-for-pickup = \"ready\"\n", "");
    assert!(none[0].contains("no order status means anything"), "{none:#?}");
}

#[test]
fn a_custom_store_has_a_header_events_and_pointers() {
    one("X-Webhook-Token", "X Webhook Token", "38 error", &["HTTP header"]);
    one("phone = \"/phone\"", "phone = \"phone\"", "43 error", &["is not a JSON pointer"]);
    one("phone = \"/phone\"", "phone = \"/pho~ne\"", "43 error", &["~0"]);
    one("total = \"/total\"", "totl = \"/total\"", "46 error", &["no variable `totl`", "did you mean `total`?"]);
    one("total = \"/total\"", "first_name = \"/n\"", "46 error", &["write it as `name` in [stores.erp.fields]"]);
    one("total = \"/total\"", "store_name = \"/n\"", "46 error", &["[stores.erp]"]);
    let none = after("\"order.ready\" = \"ready\"\n", "");
    assert!(none[0].contains("no event means anything"), "{none:#?}");
}

#[test]
fn a_template_is_compiled_and_its_variables_are_known() {
    one("הזמנה {{ order_number }}", "הזמנה {{ order_nubmer }}", "18 error", &["did you mean `order_number`?"]);
    one("order {{ order_number }} is", "order {{ parcel }} is", "21 error", &["no variable `parcel`", "known here"]);
    one("order {{ order_number }} is", "order {{ order_number is", "21 error", &["the template is wrong here"]);
    one("{% endif %},", "{% endif %}, {{ total.amount.x }}", "20 error", &["no value"]);
}

#[test]
fn a_value_that_may_be_missing_is_asked_for() {
    one("order {{ order_number }} is", "order of {{ total }} is", "21 warning", &["without `total`", "{% if total %}"]);
    let two = after("מוכנה", "{{ name }} {{ pickup_until }}");
    assert_eq!(two.len(), 2, "{two:#?}");
}

#[test]
fn texts_and_buttons_keep_to_what_whatsapp_takes() {
    one("en = \"Order\"", "en = \"See your order right here\"", "17 error", &["20 characters"]);
    one("en = \"Order\"", "en = \"Order {{ order_number }}\"", "17 warning", &["when the values in it are long"]);
    one("en = \"Order\"", "en = \"\"", "17 error", &["1 to 20"]);
    one("is ready.", &"very ".repeat(900), "19 error", &["longer than 4096"]);
    one(
        "הזמנה {{ order_number }} מוכנה",
        "{% if total %}{{ total }}{% endif %}",
        "18 warning",
        &["nothing is left to say"],
    );
    one("הזמנה {{ order_number }} מוכנה", " ", "18 error", &["the text is empty"]);
}

#[test]
fn buttons_and_documents_name_variables_that_hold_links() {
    one("url = \"order_url\"", "url = \"order_ulr\"", "17 error", &["did you mean `order_url`?"]);
    one("url = \"order_url\"", "url = \"total\"", "17 error", &["`total` holds no link"]);
    one(
        "useful_for = \"2d\"",
        "useful_for = \"2d\"\ndocument = \"invoice\"",
        "17 error",
        &["texts know no variable `invoice`"],
    );
}

#[test]
fn news_is_useful_for_a_sane_time() {
    one("\"2d\"", "\"30d\"", "16 warning", &["hardly news"]);
    one("\"2d\"", "\"5m\"", "16 warning", &["shortest outage"]);
    one("\"2d\"", "\"500d\"", "16 error", &["forgotten before it is sent"]);
}

#[test]
fn what_nobody_reports_and_what_nobody_is_told_is_seen() {
    let invoice = "[messages.invoice]\nuseful_for = \"1d\"\ntext.he = \"א\"\ntext.en = \"a\"\n\n[messages.ready]";
    one("[messages.ready]", invoice, "15 warning", &["no store ever reports `invoice`"]);
    one("ready-for-pickup = \"ready\"\n", "", "24 warning", &["nothing that this store reports is ever told"]);
    let bare = shown(&GOOD[..GOOD.find("[stores.shop]").unwrap()]);
    assert!(bare[0].contains("there is no store, calendar or form"), "{bare:#?}");
    assert_eq!(bare.len(), 2, "{bare:#?}");
    let mute = shown(&GOOD[..GOOD.find("[messages.ready]").unwrap()]);
    assert!(mute[0].contains("there is no message") && mute.len() == 1, "{mute:#?}");
}

#[test]
fn what_is_refused_is_an_error_that_says_why() {
    for (text, name) in [
        ("[campaigns]\nname = \"Black Friday\"\naudience = \"all\"\n\n[lines.main]", "`campaigns`"),
        ("[[broadcast]]\ntext = \"x\"\n\n[lines.main]", "`broadcast`"),
        ("[groups.vip]\nid = 1\n\n[lines.main]", "`groups`"),
        ("[bot]\n\n[lines.main]", "`bot`"),
        ("[lines.main]\nowner = \"dana\"", "`lines.main.owner`"),
        ("[lines.main]\nauto-reply = \"hi\"", "`lines.main.auto-reply`"),
        ("[messages.campaign]\nuseful_for = \"1d\"\n\n[lines.main]", "`messages.campaign`"),
    ] {
        one(
            "[lines.main]",
            text,
            if text.starts_with("[lines") { "8 error" } else { "7 error" },
            &[name, "decisions.md"],
        );
    }
    one(
        "line = \"main\"",
        "line = \"main\"\nassign = \"dana\"",
        "13 error",
        &["`stores.shop.assign`", "in EZWhatsApp alone"],
    );
}

#[test]
fn a_shops_own_words_may_be_anything() {
    assert!(after("processing = \"paid\"", "bot = \"paid\"\ngroup = \"ready\"").is_empty());
    assert!(after("\"order.ready\" = \"ready\"", "campaigns = \"ready\"").is_empty());
}

#[test]
fn a_secret_in_the_file_is_an_error_that_does_not_repeat_it() {
    one("line_acme\"", "line_acme\"\ntoken = \"abc\"", "9 error", &["`lines.main.token`", "Secrets Manager"]);
    let found = after("\"line_acme\"", "\"ezw_line_verysecret\"");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("8 error this looks like a secret") && !found[0].contains("verysecret"), "{found:#?}");
}

#[test]
fn every_wrong_key_is_reported_at_once_beside_everything_else() {
    let found = shown(
        &GOOD
            .replace("country = \"IL\"", "country = \"XX\"\ncolour = \"red\"")
            .replace("line_id =", "pace = 3\nline_id =")
            .replace("[messages.ready]", "[messages.redy]\nuseful_for = \"1h\"\n\n[messages.ready]"),
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].starts_with("3 error `XX`"), "{found:#?}");
    assert!(found[1].starts_with("4 error `colour` is no setting of a client.toml"), "{found:#?}");
    assert!(found[2].starts_with("9 error `pace` is no setting of `lines.main`"), "{found:#?}");
    assert!(found[3].contains("`redy` is no milestone of an order → did you mean `ready`?"), "{found:#?}");
}

#[test]
fn what_does_not_load_says_where_and_what_to_do() {
    one("line_id = \"line_acme\"", "", "7 error", &["`line_id` is missing here", "add `line_id = …`"]);
    one("\"2d\"", "\"2 days\"", "16 error", &["is not a span of time"]);
    one("\"2d\"", "48", "16 error", &["this is a whole number", "write it in quotes"]);
    one("name = \"Acme\"", "name = \"Acme", "2 error", &["this is not TOML"]);
    one("shop_domain = \"acme.myshopify.com\"", "", "10 error", &["a shopify store needs `shop_domain`"]);
    one("kind = \"shopify\"", "kind = \"shopfy\"", "11 error", &["did you mean `shopify`?"]);
    one("scheme = \"static-header\"", "scheme = \"hmac\"", "38 error", &["`hmac`"]);
}

#[test]
fn what_the_functions_cannot_load_is_no_configuration() {
    assert!(examine(&GOOD.replace("country", "land")).config.is_none());
    assert!(examine(&GOOD.replace("[lines.main]", "[bot]\n[lines.main]")).config.is_none());
    assert!(examine("client = ").config.is_none());
    assert!(examine(&GOOD.replace("\"2d\"", "\"30d\"")).config.is_some());
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_check_panic(from in 0usize..30_000, length in 0usize..200, instead in "\\PC{0,12}|[a-z]{1,9} = |\\[{1,2}[a-z.]{1,9}\\]{0,2}|\"{1,3}|\\{[{%]? ?") {
        let demo: Vec<char> = include_str!("../../../../clients/demo/client.toml").chars().collect();
        let from = from.min(demo.len());
        let to = (from + length).min(demo.len());
        let text: String = demo[..from].iter().copied().chain(instead.chars()).chain(demo[to..].iter().copied()).collect();
        let lines = text.lines().count() + 1;
        for finding in examine(&text).findings {
            proptest::prop_assert!((1..=lines).contains(&finding.line), "{finding:?}");
            proptest::prop_assert!(!finding.what.is_empty() && !finding.remedy.is_empty());
        }
    }
}
