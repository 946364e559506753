//! Texts of the client, rendered with good, missing and hostile values.

use proptest::prelude::*;

use super::*;

fn values_from(pairs: &[(&str, &str)]) -> TemplateValues {
    let mut values = TemplateValues::new();
    for (name, value) in pairs {
        if *name == "name" { values.set_customer(value) } else { values.set(name, value) }
    }
    values
}

#[test]
fn a_missing_value_is_an_error_unless_the_template_tests_for_it() {
    let none = values_from(&[("order_number", "#1")]);
    assert_eq!(render_template("Hi {{ name }}, {{ order_number }}", &none), Err(WordingError::ValueMissing(1)));
    let asked = "{% if name %}Hi {{ name }}, {% endif %}order {{ order_number }}";
    assert_eq!(render_template(asked, &none).unwrap(), "order #1");
    assert_eq!(
        render_template(asked, &values_from(&[("order_number", "#1"), ("name", "Noa")])).unwrap(),
        "Hi Noa, order #1"
    );
}

#[test]
fn values_are_data_and_never_markup() {
    let odd = values_from(&[("name", "{{ order_number }}"), ("order_number", "<b>&\"{% raw %}")]);
    assert_eq!(render_template("{{ name }}|{{ order_number }}", &odd).unwrap(), "{{ order number }}|<b>&\"{% raw %}");
}

#[test]
fn a_name_that_contains_contact_details_is_dropped() {
    for name in [
        "Win at evil.com",
        "x.y.evil.com",
        ".evil.com",
        "٠٥٠١٢٣٤٥٦٧",
        "https://a.example",
        "call 0501234567",
        "a@b.c",
        "x/y",
        "www.a.b",
        "\u{202e}\u{200b}",
    ] {
        assert_eq!(values_from(&[("name", name)]).get("name"), None, "{name}");
    }
    for (name, kept) in [
        ("Noa Levi", "Noa Levi"),
        ("J. R. R. Tolkien", "J. R. R. Tolkien"),
        ("  נועה\u{200f}\n לוי ", "נועה לוי"),
        ("O'Brien-Smith Jr.", "O'Brien-Smith Jr."),
        ("Renée\u{7}", "Renée"),
    ] {
        assert_eq!(values_from(&[("name", name)]).get("name"), Some(kept));
    }
}

#[test]
fn only_https_links_without_credentials_are_links() {
    for (link, usable) in [
        ("https://track.example.com/1", true),
        ("http://track.example.com/1", false),
        ("javascript:alert(1)", false),
        ("https://user:pw@track.example.com/", false),
        ("//track.example.com", false),
    ] {
        assert_eq!(values_from(&[("tracking_url", link)]).get("tracking_url").is_some(), usable, "{link}");
    }
}

#[test]
fn every_example_passes_its_own_cleaning() {
    for variable in VARIABLES {
        assert_eq!(
            clean_value(variable.kind, variable.example).as_deref(),
            Some(variable.example),
            "{}",
            variable.name
        );
    }
}

#[test]
fn each_topic_has_its_own_variables_and_shares_the_customer() {
    assert!(
        TemplateTopic::Order.find_variable("order_number").is_some()
            && TemplateTopic::Appointment.find_variable("order_number").is_none()
    );
    assert!(
        TemplateTopic::Appointment.find_variable("start").is_some()
            && TemplateTopic::Order.find_variable("start").is_none()
    );
    assert!(TemplateTopic::ALL.iter().all(|topic| topic.find_variable("first_name").is_some()));
    let examples = TemplateValues::from_examples(TemplateTopic::Appointment, false);
    assert_eq!((examples.get("time"), examples.get("place"), examples.get("store_name")), (Some("10:30"), None, None));
}

#[test]
fn the_name_is_the_only_typed_text_of_a_lead_that_is_used() {
    let names: Vec<_> = TemplateTopic::Lead.variables().map(|variable| variable.name).collect();
    assert_eq!(names, ["business_name", "name", "first_name", "choice"]);
    assert!(TemplateTopic::Lead.variables().all(|variable| variable.kind != VariableKind::Link));
}

#[test]
fn an_acknowledgement_uses_the_business_and_customer_names_and_nothing_the_customer_wrote() {
    let names: Vec<_> = TemplateTopic::Conversation.variables().map(|variable| variable.name).collect();
    assert_eq!(names, ["business_name", "name", "first_name"]);
    let rule = |text: &str| -> AcknowledgementRule { toml::from_str(&format!("text.en = '{text}'")).unwrap() };
    let asks = rule("{% if first_name %}{{ first_name }}, t{% else %}T{% endif %}hanks! {{ business_name }}");
    let text_for = |name| build_acknowledgement(&asks, "en", "Demo Ceramics", name).unwrap().text;
    assert_eq!(text_for(Some("Noa Levi")), "Noa, thanks! Demo Ceramics");
    assert_eq!(text_for(Some("win at evil.com")), "Thanks! Demo Ceramics");
    assert_eq!(text_for(None), "Thanks! Demo Ceramics");
    let bare = build_acknowledgement(&rule("{{ name }}"), "en", "Demo Ceramics", None);
    assert_eq!(bare, Err(WordingError::ValueMissing(1)));
    assert_eq!(build_acknowledgement(&asks, "he", "Demo", None), Err(WordingError::NoText("he".to_owned())));
}

#[test]
fn a_start_is_four_values_without_odd_spaces_or_marks() {
    let mut values = TemplateValues::new();
    values.set_start("2026-11-24T08:30:00Z".parse().unwrap(), &TimeZone::UTC, "en", "US");
    let text = render_template("{{ weekday }}, {{ date }}, {{ time }} ({{ start }})", &values).unwrap();
    assert_eq!(text, "Tuesday, November 24, 8:30 AM (Tuesday, November 24 at 8:30 AM)");
    values.set_start("2026-11-24T08:30:00Z".parse().unwrap(), &TimeZone::UTC, "ar", "EG");
    assert!(values.0.values().all(|value| !value.chars().any(|c| is_hidden_char(c) || c.is_whitespace() && c != ' ')));
}

#[test]
fn a_place_that_is_a_link_sets_both_variables() {
    let mut link_place = TemplateValues::new();
    link_place.set_place("https://meet.example.com/abc");
    assert_eq!(link_place.get("place_url"), Some("https://meet.example.com/abc"));
    let mut street_place = TemplateValues::new();
    street_place.set_place("99 Dizengoff St");
    assert_eq!((street_place.get("place"), street_place.get("place_url")), (Some("99 Dizengoff St"), None));
}

proptest! {
    #[test]
    fn no_value_breaks_out_of_its_variable(value in ".{0,200}") {
        let mut values = TemplateValues::new();
        values.set("order_number", &value);
        values.set_customer(&value);
        for stored in values.0.values() {
            prop_assert!(!stored.chars().any(is_hidden_char));
            prop_assert!(!stored.contains('\n'));
            prop_assert!(stored.chars().count() <= 120);
        }
        if values.get("order_number").is_some() {
            let text = render_template("<{{ order_number }}>", &values).unwrap();
            prop_assert_eq!(text, format!("<{}>", values.get("order_number").unwrap()));
        }
    }

    #[test]
    fn no_template_panics(template in ".{0,80}|(\\{\\{|\\}\\}|\\{%|%\\}|name|if|endif| |\\|){0,12}") {
        let _rendered = render_template(&template, &TemplateValues::from_examples(TemplateTopic::Order, true));
    }
}
