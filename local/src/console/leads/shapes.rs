//! What each sender makes of a submission: the recorded delivery with other ids, times of today, and the answers of this one.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use shared::client_config::{ConsentRule, FormFields, FormKind};
use url::form_urlencoded;

use super::{super::bookings::put, PERSON, Submission, is_event, webhook_secret};
use crate::{
    console::{
        freshen::swap,
        renew::{headers_of, random_hex},
    },
    leads::{Contact, Lead},
};

macro_rules! recorded {
    ($case:literal) => {
        include_str!(concat!("../../../../events/leads/", $case))
    };
}

/// What is posted, but for its proof.
#[derive(Clone)]
pub(super) struct Content {
    /// What senders by Standard Webhooks call it.
    pub(super) id: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// What kind of field it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Phone,
    Name,
    Email,
    Text,
    /// A box to tick; empty if it is not.
    Box,
    /// Nobody sees it.
    Hidden,
}

/// A field with what somebody has put into it.
struct Answer {
    name: String,
    asks: Asks,
    says: String,
}

/// What fields are called where the client does not say: as in the recording.
struct Usual {
    phone: &'static str,
    /// The whole name, or the first and the last.
    name: (&'static str, Option<&'static str>),
    email: &'static str,
}

const fn usual(kind: FormKind) -> Usual {
    let (phone, name, email) = match kind {
        FormKind::Typeform | FormKind::Web => ("phone", ("full_name", None), "email"),
        FormKind::GoogleAds => ("PHONE_NUMBER", ("FULL_NAME", None), "EMAIL"),
        FormKind::Meta => ("phone_number", ("full_name", None), "email"),
        FormKind::Webflow => ("Phone Number", ("First Name", Some("Last Name")), "email"),
        FormKind::Tally => ("Phone", ("Full name", None), "Email"),
        FormKind::Jotform => ("q5_phoneNumber", ("q3_fullName", None), "q4_email"),
        FormKind::Elementor => ("Phone", ("Name", None), "Email"),
        FormKind::GravityForms => ("3", ("1.3", Some("1.6")), "2"),
        FormKind::WpForms => ("phone", ("name", None), "email"),
        FormKind::ContactForm7 => ("your-tel", ("your-name", None), "your-email"),
        FormKind::HubSpot => ("phone", ("firstname", Some("lastname")), "email"),
    };
    Usual { phone, name, email }
}

impl Answer {
    fn ticked(&self) -> bool {
        !self.says.is_empty()
    }

    /// As text, with this for a box that is ticked.
    fn text(&self, tick: &str) -> String {
        if self.asks == Asks::Box && self.ticked() { tick.to_owned() } else { self.says.clone() }
    }

    /// As JSON: a box is true or false.
    fn json(&self) -> Value {
        if self.asks == Asks::Box { json!(self.ticked()) } else { json!(self.says) }
    }
}

impl Submission<'_> {
    /// What is posted for it. Senders that only name a lead have it in their stand-in from then on.
    pub(super) fn content(&self) -> anyhow::Result<Content> {
        let answers = self.answers();
        let (headers, body) = match self.form.kind {
            FormKind::Typeform => (recorded!("typeform/form_response.headers.txt"), self.typeform(&answers)?),
            FormKind::GoogleAds => (recorded!("google_ads/lead.headers.txt"), self.google(&answers)?),
            FormKind::Meta => (recorded!("meta/leadgen.headers.txt"), self.meta(&answers)?),
            FormKind::Webflow => (recorded!("webflow/form_submission.headers.txt"), self.webflow(&answers)?),
            FormKind::Tally => (recorded!("tally/form_response.headers.txt"), self.tally(&answers)?),
            FormKind::Jotform => (recorded!("jotform/submission.headers.txt"), self.jotform(&answers)?),
            FormKind::Elementor => (recorded!("wordpress/elementor_simple.headers.txt"), self.elementor(&answers)),
            FormKind::GravityForms => (recorded!("wordpress/gravityforms_entry.headers.txt"), self.gravity(&answers)?),
            FormKind::HubSpot if is_event(self.form) => {
                (recorded!("hubspot/contact_creation.headers.txt"), self.hubspot_event(&answers)?)
            }
            FormKind::HubSpot => (recorded!("hubspot/contact_creation.headers.txt"), self.hubspot_contact(&answers)),
            FormKind::WpForms => (recorded!("wordpress/wpforms_json.headers.txt"), self.flat(&answers).to_string()),
            FormKind::ContactForm7 => {
                (recorded!("wordpress/contactform7_json.headers.txt"), self.flat(&answers).to_string())
            }
            FormKind::Web if answers.iter().any(|answer| answer.name.contains('.')) => {
                (recorded!("web/lead_json.headers.txt"), self.flat(&answers).to_string())
            }
            FormKind::Web => (recorded!("web/lead_form.headers.txt"), self.urlencoded(&answers)),
        };
        // The recording's proof is the recording's.
        let mut headers = headers_of(headers);
        headers.retain(|(name, _)| ["content-type", "user-agent"].iter().any(|kept| name.eq_ignore_ascii_case(kept)));
        Ok(Content { id: format!("msg_{}", random_hex(27)), headers, body })
    }

    /// What is filled in, in the form's order.
    fn answers(&self) -> Vec<Answer> {
        let FormFields { phone, name, first_name, last_name, language, test, .. } = &self.form.fields;
        let usual = usual(self.form.kind);
        let (first, last) = PERSON;
        let mut answers = Vec::new();
        let mut add = |asks, name: &str, says: String| answers.push(Answer { name: name.to_owned(), asks, says });
        let parts = match (name, first_name) {
            (None, None) => usual.name,
            (Some(whole), _) => (whole.as_str(), None),
            (None, Some(first)) => (first.as_str(), last_name.as_deref()),
        };
        match parts {
            (whole, None) if first_name.is_none() || name.is_some() => {
                add(Asks::Name, whole, format!("{first} {last}"));
            }
            (first_field, last_field) => {
                add(Asks::Text, first_field, first.to_owned());
                if let Some(field) = last_field {
                    add(Asks::Text, field, last.to_owned());
                }
            }
        }
        // What Meta calls a trial has this for every answer.
        let dummy = self.test && self.form.kind == FormKind::Meta;
        let number = if dummy { "<test lead: dummy data for phone_number>" } else { self.phone };
        add(Asks::Phone, phone.as_deref().unwrap_or(usual.phone), number.to_owned());
        // Of two submissions no two are alike.
        add(Asks::Email, usual.email, format!("noa.{}@example.com", self.number));
        if let Some(rule) = &self.form.choice {
            add(Asks::Text, &rule.field, rule.of.first().cloned().unwrap_or_default());
        }
        if let ConsentRule::Field { field, accepts } = &self.form.consent {
            let yes = accepts.first().map_or("true", String::as_str);
            add(Asks::Box, field, if self.agrees { yes.to_owned() } else { String::new() });
        }
        if let Some(field) = language {
            add(Asks::Hidden, field, self.desk.config.languages.first().cloned().unwrap_or_default());
        }
        if let Some(field) = test.as_ref().filter(|_| self.test) {
            add(Asks::Hidden, field, "true".to_owned());
        }
        answers
    }

    fn seconds(&self) -> String {
        self.now.strftime("%FT%TZ").to_string()
    }

    fn millis(&self) -> String {
        self.now.strftime("%FT%T%.3fZ").to_string()
    }

    /// The id of the sender's form: the first that is meant, else the recording's.
    fn form_id(&self, recorded: &Value) -> Value {
        self.form.form_ids.first().map_or_else(|| recorded.clone(), |id| json!(id))
    }

    fn typeform(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut body: Value = serde_json::from_str(recorded!("typeform/form_response.json"))?;
        body["event_id"] = json!(random_hex(26).to_uppercase());
        let response = &mut body["form_response"];
        response["token"] = json!(random_hex(32));
        response["landed_at"] = json!(self.seconds());
        response["submitted_at"] = json!(self.seconds());
        response["form_id"] = self.form_id(&response["form_id"]);
        response["definition"]["id"] = response["form_id"].clone();
        let types = |asks| match asks {
            Asks::Phone => ("phone_number", "phone_number"),
            Asks::Email => ("email", "email"),
            Asks::Box => ("boolean", "legal"),
            Asks::Name | Asks::Text | Asks::Hidden => ("text", "short_text"),
        };
        let (hidden, shown): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.asks == Asks::Hidden);
        let question = |(place, answer): (usize, &&Answer)| {
            let (_, kind) = types(answer.asks);
            json!({"id": format!("fld{place:02}AbCd"), "ref": answer.name, "type": kind, "title": answer.name, "properties": {}})
        };
        let answered = |(place, answer): (usize, &&Answer)| {
            let (said, kind) = types(answer.asks);
            let field = json!({"id": format!("fld{place:02}AbCd"), "type": kind, "ref": answer.name});
            json!({"type": said, said: answer.json(), "field": field})
        };
        response["definition"]["fields"] = shown.iter().enumerate().map(question).collect();
        response["answers"] = shown.iter().enumerate().map(answered).collect();
        response["hidden"] = hidden.iter().map(|answer| (answer.name.clone(), answer.json())).collect();
        Ok(body.to_string())
    }

    fn google(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut body: Value = serde_json::from_str(recorded!("google_ads/lead_as_documented.json"))?;
        let given = answers.iter().filter(|answer| !answer.says.is_empty());
        let column = |answer: &Answer| json!({"column_name": answer.name, "column_id": answer.name, "string_value": answer.text("true")});
        body["user_column_data"] = given.map(column).collect();
        body["lead_id"] = json!(format!("TeSter-lead-{}", self.number));
        body["form_id"] = self.form_id(&body["form_id"]);
        body["google_key"] = json!(webhook_secret(self.desk, self.name)?);
        body["lead_submit_time"] = json!(self.seconds());
        if self.test {
            body["is_test"] = json!(true);
        }
        Ok(body.to_string())
    }

    /// The lead itself is what Graph tells of it.
    fn meta(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut body: Value = serde_json::from_str(recorded!("meta/leadgen.json"))?;
        let entry = &mut body["entry"][0];
        entry["time"] = json!(self.now.as_second());
        let value = &mut entry["changes"][0]["value"];
        let form_id = self.form_id(&value["form_id"]);
        value["form_id"] = form_id.clone();
        value["created_time"] = json!(self.now.as_second());
        value["leadgen_id"] = json!(self.number.to_string());
        let (boxes, questions): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.asks == Asks::Box);
        self.desk.leads.put_lead(Lead {
            id: self.number.to_string(),
            form_id: form_id.as_str().unwrap_or_default().to_owned(),
            created_at: Timestamp::from_second(self.now.as_second())?,
            fields: questions.iter().map(|answer| (answer.name.clone(), vec![answer.says.clone()])).collect(),
            disclaimers: boxes.iter().map(|answer| (answer.name.clone(), answer.ticked())).collect(),
        })?;
        Ok(body.to_string())
    }

    fn webflow(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut body: Value = serde_json::from_str(recorded!("webflow/form_submission.json"))?;
        let payload = &mut body["payload"];
        let kind = |asks| if asks == Asks::Box { "FormCheckboxInput" } else { "FormTextInput" };
        let element = |answer: &Answer| json!({"fieldName": answer.name, "fieldType": kind(answer.asks), "fieldElementId": crate::new_id()});
        let said = |answer: &Answer| match answer.asks {
            Asks::Box => json!(answer.ticked().to_string()),
            _ => answer.json(),
        };
        payload["data"] = answers.iter().map(|answer| (answer.name.clone(), said(answer))).collect();
        payload["schema"] = answers.iter().map(element).collect();
        payload["submittedAt"] = json!(self.millis());
        payload["id"] = json!(random_hex(24));
        payload["formId"] = self.form_id(&payload["formId"]);
        Ok(body.to_string())
    }

    fn tally(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut body: Value = serde_json::from_str(recorded!("tally/form_response.json"))?;
        let kind = |asks| match asks {
            Asks::Phone => "INPUT_PHONE_NUMBER",
            Asks::Email => "INPUT_EMAIL",
            Asks::Box => "CHECKBOXES",
            Asks::Hidden => "HIDDEN_FIELDS",
            Asks::Name | Asks::Text => "INPUT_TEXT",
        };
        let field = |answer: &Answer| {
            let key = format!("question_{}", random_hex(6));
            json!({"key": key, "label": answer.name, "type": kind(answer.asks), "value": answer.json()})
        };
        body["eventId"] = json!(crate::new_id());
        body["createdAt"] = json!(self.millis());
        let data = &mut body["data"];
        let id = random_hex(12);
        data["responseId"] = json!(id);
        data["submissionId"] = json!(id);
        data["respondentId"] = json!(random_hex(6));
        data["formId"] = self.form_id(&data["formId"]);
        data["createdAt"] = json!(self.millis());
        data["fields"] = answers.iter().map(field).collect();
        Ok(body.to_string())
    }

    /// The answers are JSON in one part of the body.
    fn jotform(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let recorded = recorded!("jotform/submission.multipart");
        let line = |begins: &str| recorded.lines().find(|line| line.starts_with(begins)).unwrap_or_default();
        let (request, pretty, id, form_id) =
            (line("{\"slug\""), line("Full Name:"), "6100000000000000001", "263221000000001");
        let mut raw: Map<String, Value> = serde_json::from_str(request)?;
        raw.retain(|key, _| jotform_key(key).is_none());
        raw.insert("submitDate".to_owned(), json!(self.now.as_millisecond().to_string()));
        for (place, answer) in answers.iter().enumerate() {
            // Questions go by their keys, which have a number in front.
            let key = jotform_key(&answer.name).unwrap_or_else(|| format!("q{}_{}", place + 20, answer.name));
            let (first, last) = PERSON;
            let said = match answer.asks {
                Asks::Phone => json!({"full": answer.says}),
                Asks::Name => json!({"first": first, "last": last}),
                Asks::Box if !answer.ticked() => continue,
                Asks::Box => json!([answer.says]),
                Asks::Email | Asks::Text | Asks::Hidden => json!(answer.says),
            };
            raw.insert(key, said);
        }
        let shown: Vec<_> = answers.iter().map(|answer| format!("{}:{}", answer.name, answer.says)).collect();
        let meant = self.form_id(&json!(form_id));
        let pairs = [
            (request, Value::Object(raw).to_string()),
            (pretty, shown.join(", ")),
            (id, format!("61{}", self.number)),
            (form_id, meant.as_str().unwrap_or_default().to_owned()),
        ];
        let pairs = pairs.each_ref().map(|(from, to)| (*from, to.as_str()));
        Ok(swap(recorded, &pairs))
    }

    /// The labels of the fields as keys.
    fn elementor(&self, answers: &[Answer]) -> String {
        let form_id = self.form_id(&json!("a1b2c3d"));
        let mut body = form_urlencoded::Serializer::new(String::new());
        for answer in answers.iter().filter(|answer| !answer.says.is_empty()) {
            body.append_pair(&answer.name, &answer.text("on"));
        }
        body.append_pair("form_id", form_id.as_str().unwrap_or_default());
        body.append_pair("form_name", "Request an appointment");
        body.finish()
    }

    fn gravity(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut entry: Map<String, Value> = serde_json::from_str(recorded!("wordpress/gravityforms_entry.json"))?;
        entry.retain(|key, _| !key.starts_with(|c: char| c.is_ascii_digit()));
        let at = self.now.strftime("%F %T").to_string();
        let form_id = self.form_id(&entry["form_id"]);
        let own = [("id", json!(self.number.to_string())), ("form_id", form_id)];
        let own = own.into_iter().chain([("date_created", json!(at)), ("date_updated", json!(at))]);
        entry.extend(own.map(|(name, value)| (name.to_owned(), value)));
        entry.extend(answers.iter().map(|answer| (answer.name.clone(), json!(answer.text("1")))));
        Ok(Value::Object(entry).to_string())
    }

    /// An app's subscription; the contact itself is what the API tells of it.
    fn hubspot_event(&self, answers: &[Answer]) -> anyhow::Result<String> {
        let mut body: Value = serde_json::from_str(recorded!("hubspot/contact_creation.json"))?;
        let event = &mut body[0];
        event["eventId"] = json!(self.number);
        event["objectId"] = json!(self.number);
        event["occurredAt"] = json!(self.now.as_millisecond());
        let properties = answers.iter().map(|answer| (property(answer).to_owned(), answer.text("true")));
        self.desk.leads.put_contact(Contact {
            id: self.number.to_string(),
            created_at: self.now,
            properties: properties.collect(),
        })?;
        Ok(body.to_string())
    }

    /// A workflow's own step: the contact, each property with its value. There is no recording of one.
    fn hubspot_contact(&self, answers: &[Answer]) -> String {
        let properties = answers.iter().map(|answer| (property(answer), json!({"value": answer.text("true")})));
        let properties: Map<String, Value> = properties.map(|(name, value)| (name.to_owned(), value)).collect();
        json!({"vid": self.number, "portal-id": 33, "is-contact": true, "properties": properties}).to_string()
    }

    /// Whatever is about the submission and not filled in, where the client says so or the recording has it.
    fn about(&self) -> Vec<(&str, String)> {
        let FormFields { id, submitted_at, .. } = &self.form.fields;
        let usual_id = match self.form.kind {
            FormKind::Web => Some("lead_id"),
            FormKind::WpForms => Some("entry_id"),
            _ => None,
        };
        let id = id.as_deref().or(usual_id).map(|name| (name, self.number.to_string()));
        let submitted_at = submitted_at.as_deref().map(|name| (name, self.millis()));
        let form_id = self.form.form_ids.first().map(|id| ("form_id", id.clone()));
        id.into_iter().chain(submitted_at).chain(form_id).collect()
    }

    /// JSON of whatever names; points in them are steps.
    fn flat(&self, answers: &[Answer]) -> Value {
        let pointer = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1").replace('.', "/"));
        let mut body = json!({});
        for (name, says) in self.about() {
            put(&mut body, &pointer(name), json!(says));
        }
        for answer in answers {
            put(&mut body, &pointer(&answer.name), answer.json());
        }
        body
    }

    fn urlencoded(&self, answers: &[Answer]) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(self.about());
        for answer in answers.iter().filter(|answer| !answer.says.is_empty()) {
            body.append_pair(&answer.name, &answer.text("on"));
        }
        body.finish()
    }
}

/// A property of a contact; `properties.phone` says where it stands in an answer.
fn property(answer: &Answer) -> &str {
    answer.name.rsplit('.').next().unwrap_or(&answer.name)
}

/// A key as Jotform makes them, `q5_phoneNumber`.
fn jotform_key(name: &str) -> Option<String> {
    let (number, _) = name.strip_prefix('q')?.split_once('_')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.to_owned())
}
