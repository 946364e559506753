//! Each sender's payload of a submission: the recorded delivery with new ids, times of today, and
//! the new answers.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tellonce_core::client_config::{ConsentRule, FormFields, FormKind};
use url::form_urlencoded;

use super::submission::{PERSON, SimulatedSubmission, is_event_subscription};
use tellonce_fakes::leads::{FakeHubspotContact, FakeMetaLead};
use tellonce_samples::{
    WebhookPost, put_at_pointer, random_hex, read_sample, read_sample_json, read_sample_text, replace_all,
};

/// What is posted, without its proof.
#[derive(Clone)]
pub(super) struct SubmissionPayload {
    /// The id for senders that sign by Standard Webhooks.
    pub(super) id: String,
    pub(super) post: WebhookPost,
}

/// The kind of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FormFieldKind {
    Phone,
    Name,
    Email,
    Text,
    /// A checkbox. Empty if it is not ticked.
    Checkbox,
    /// A field that the form does not show.
    Hidden,
}

/// A field with its value.
struct FilledField {
    name: String,
    kind: FormFieldKind,
    value: String,
}

/// The field names of the recording, for fields that the client does not configure.
struct DefaultFieldNames {
    phone: &'static str,
    /// The full name, or the first and the last name.
    name: (&'static str, Option<&'static str>),
    email: &'static str,
}

const fn default_field_names(kind: FormKind) -> DefaultFieldNames {
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
    DefaultFieldNames { phone, name, email }
}

impl FilledField {
    fn is_ticked(&self) -> bool {
        !self.value.is_empty()
    }

    /// The value as text. `tick` is the text of a ticked checkbox.
    fn to_text(&self, tick: &str) -> String {
        if self.kind == FormFieldKind::Checkbox && self.is_ticked() { tick.to_owned() } else { self.value.clone() }
    }

    /// The value as JSON. A checkbox is true or false.
    fn to_json(&self) -> Value {
        if self.kind == FormFieldKind::Checkbox { json!(self.is_ticked()) } else { json!(self.value) }
    }
}

impl SimulatedSubmission<'_> {
    /// Builds the payload. If the sender posts only the id of a lead, adds the lead to its fake.
    pub(super) fn build_payload(&self) -> anyhow::Result<SubmissionPayload> {
        let fields = self.fill_in_fields();
        let (case, body) = match self.form.kind {
            FormKind::Typeform => ("typeform/form_response", self.build_typeform_body(&fields)),
            FormKind::GoogleAds => ("google_ads/lead", self.build_google_body(&fields)),
            FormKind::Meta => ("meta/leadgen", self.build_meta_body(&fields)?),
            FormKind::Webflow => ("webflow/form_submission", self.build_webflow_body(&fields)),
            FormKind::Tally => ("tally/form_response", self.build_tally_body(&fields)),
            FormKind::Jotform => ("jotform/submission", self.build_jotform_body(&fields)?),
            FormKind::Elementor => ("wordpress/elementor_simple", self.build_elementor_body(&fields)),
            FormKind::GravityForms => ("wordpress/gravityforms_entry", self.build_gravity_body(&fields)?),
            FormKind::HubSpot if is_event_subscription(self.form) => {
                ("hubspot/contact_creation", self.build_hubspot_event(&fields)?)
            }
            FormKind::HubSpot => ("hubspot/contact_creation", self.build_hubspot_contact(&fields)),
            FormKind::WpForms => ("wordpress/wpforms_json", self.build_json_body(&fields).to_string()),
            FormKind::ContactForm7 => ("wordpress/contactform7_json", self.build_json_body(&fields).to_string()),
            FormKind::Web if fields.iter().any(|answer| answer.name.contains('.')) => {
                ("web/lead_json", self.build_json_body(&fields).to_string())
            }
            FormKind::Web => ("web/lead_form", self.build_urlencoded_body(&fields)),
        };
        let recorded = WebhookPost::from_sample(&format!("leads/{case}"), format!("/leads/{}", self.name));
        let mut post = recorded.with_body(body);
        // The recorded proof does not match the new body.
        let kept = ["content-type", "user-agent"];
        post.headers.retain(|(name, _)| kept.iter().any(|kept| name.eq_ignore_ascii_case(kept)));
        Ok(SubmissionPayload { id: format!("msg_{}", random_hex(27)), post })
    }

    /// The fields with their values, in the form's order.
    fn fill_in_fields(&self) -> Vec<FilledField> {
        let FormFields { phone, name, first_name, last_name, language, test, .. } = &self.form.fields;
        let defaults = default_field_names(self.form.kind);
        let (first, last) = PERSON;
        let mut fields = Vec::new();
        let mut add = |kind, name: &str, value: String| fields.push(FilledField { name: name.to_owned(), kind, value });
        let parts = match (name, first_name) {
            (None, None) => defaults.name,
            (Some(whole), _) => (whole.as_str(), None),
            (None, Some(first)) => (first.as_str(), last_name.as_deref()),
        };
        match parts {
            (whole, None) if first_name.is_none() || name.is_some() => {
                add(FormFieldKind::Name, whole, format!("{first} {last}"));
            }
            (first_field, last_field) => {
                add(FormFieldKind::Text, first_field, first.to_owned());
                if let Some(field) = last_field {
                    add(FormFieldKind::Text, field, last.to_owned());
                }
            }
        }
        // Meta puts this into every field of a test.
        let dummy = self.is_test && self.form.kind == FormKind::Meta;
        let number = if dummy { "<test lead: dummy data for phone_number>" } else { self.phone };
        add(FormFieldKind::Phone, phone.as_deref().unwrap_or(defaults.phone), number.to_owned());
        // Each submission has another address.
        add(FormFieldKind::Email, defaults.email, format!("noa.{}@example.com", self.number));
        if let Some(rule) = &self.form.choice {
            add(FormFieldKind::Text, &rule.field, rule.of.first().cloned().unwrap_or_default());
        }
        if let ConsentRule::Field { field, accepts } = &self.form.consent {
            let yes = accepts.first().map_or("true", String::as_str);
            add(FormFieldKind::Checkbox, field, if self.has_consent { yes.to_owned() } else { String::new() });
        }
        if let Some(field) = language {
            add(FormFieldKind::Hidden, field, self.context.config.languages.first().cloned().unwrap_or_default());
        }
        if let Some(field) = test.as_ref().filter(|_| self.is_test) {
            add(FormFieldKind::Hidden, field, "true".to_owned());
        }
        fields
    }

    fn format_seconds(&self) -> String {
        self.now.strftime("%FT%TZ").to_string()
    }

    fn format_millis(&self) -> String {
        self.now.strftime("%FT%T%.3fZ").to_string()
    }

    /// The id of the sender's form: the first configured one, else the recorded one.
    fn form_id(&self, recorded: &Value) -> Value {
        self.form.form_ids.first().map_or_else(|| recorded.clone(), |id| json!(id))
    }

    fn build_typeform_body(&self, fields: &[FilledField]) -> String {
        let mut body = read_sample_json("leads/typeform/form_response.json");
        body["event_id"] = json!(random_hex(26).to_uppercase());
        let response = &mut body["form_response"];
        response["token"] = json!(random_hex(32));
        response["landed_at"] = json!(self.format_seconds());
        response["submitted_at"] = json!(self.format_seconds());
        response["form_id"] = self.form_id(&response["form_id"]);
        response["definition"]["id"] = response["form_id"].clone();
        let types = |asks| match asks {
            FormFieldKind::Phone => ("phone_number", "phone_number"),
            FormFieldKind::Email => ("email", "email"),
            FormFieldKind::Checkbox => ("boolean", "legal"),
            FormFieldKind::Name | FormFieldKind::Text | FormFieldKind::Hidden => ("text", "short_text"),
        };
        let (hidden, shown): (Vec<_>, Vec<_>) = fields.iter().partition(|answer| answer.kind == FormFieldKind::Hidden);
        let question = |(place, answer): (usize, &&FilledField)| {
            let (_, kind) = types(answer.kind);
            json!({"id": format!("fld{place:02}AbCd"), "ref": answer.name, "type": kind, "title": answer.name, "properties": {}})
        };
        let answered = |(place, answer): (usize, &&FilledField)| {
            let (value_type, kind) = types(answer.kind);
            let field = json!({"id": format!("fld{place:02}AbCd"), "type": kind, "ref": answer.name});
            json!({"type": value_type, value_type: answer.to_json(), "field": field})
        };
        response["definition"]["fields"] = shown.iter().enumerate().map(question).collect();
        response["answers"] = shown.iter().enumerate().map(answered).collect();
        response["hidden"] = hidden.iter().map(|answer| (answer.name.clone(), answer.to_json())).collect();
        body.to_string()
    }

    fn build_google_body(&self, fields: &[FilledField]) -> String {
        let mut body = read_sample_json("leads/google_ads/lead_as_documented.json");
        let given = fields.iter().filter(|answer| !answer.value.is_empty());
        let column = |answer: &FilledField| json!({"column_name": answer.name, "column_id": answer.name, "string_value": answer.to_text("true")});
        body["user_column_data"] = given.map(column).collect();
        body["lead_id"] = json!(format!("TeSter-lead-{}", self.number));
        body["form_id"] = self.form_id(&body["form_id"]);
        body["lead_submit_time"] = json!(self.format_seconds());
        if self.is_test {
            body["is_test"] = json!(true);
        }
        body.to_string()
    }

    /// Graph returns the lead itself.
    fn build_meta_body(&self, fields: &[FilledField]) -> anyhow::Result<String> {
        let mut body = read_sample_json("leads/meta/leadgen.json");
        let entry = &mut body["entry"][0];
        entry["time"] = json!(self.now.as_second());
        let value = &mut entry["changes"][0]["value"];
        let form_id = self.form_id(&value["form_id"]);
        value["form_id"] = form_id.clone();
        value["created_time"] = json!(self.now.as_second());
        value["leadgen_id"] = json!(self.number.to_string());
        let (boxes, questions): (Vec<_>, Vec<_>) =
            fields.iter().partition(|answer| answer.kind == FormFieldKind::Checkbox);
        self.context.leads.put_lead(FakeMetaLead {
            id: self.number.to_string(),
            form_id: form_id.as_str().unwrap_or_default().to_owned(),
            created_at: Timestamp::from_second(self.now.as_second())?,
            fields: questions.iter().map(|answer| (answer.name.clone(), vec![answer.value.clone()])).collect(),
            disclaimers: boxes.iter().map(|answer| (answer.name.clone(), answer.is_ticked())).collect(),
        })?;
        Ok(body.to_string())
    }

    fn build_webflow_body(&self, fields: &[FilledField]) -> String {
        let mut body = read_sample_json("leads/webflow/form_submission.json");
        let payload = &mut body["payload"];
        let kind = |asks| if asks == FormFieldKind::Checkbox { "FormCheckboxInput" } else { "FormTextInput" };
        let element = |answer: &FilledField| json!({"fieldName": answer.name, "fieldType": kind(answer.kind), "fieldElementId": tellonce_fakes::generate_id()});
        let field_value = |answer: &FilledField| match answer.kind {
            FormFieldKind::Checkbox => json!(answer.is_ticked().to_string()),
            _ => answer.to_json(),
        };
        payload["data"] = fields.iter().map(|answer| (answer.name.clone(), field_value(answer))).collect();
        payload["schema"] = fields.iter().map(element).collect();
        payload["submittedAt"] = json!(self.format_millis());
        payload["id"] = json!(random_hex(24));
        payload["formId"] = self.form_id(&payload["formId"]);
        body.to_string()
    }

    fn build_tally_body(&self, fields: &[FilledField]) -> String {
        let mut body = read_sample_json("leads/tally/form_response.json");
        let kind = |asks| match asks {
            FormFieldKind::Phone => "INPUT_PHONE_NUMBER",
            FormFieldKind::Email => "INPUT_EMAIL",
            FormFieldKind::Checkbox => "CHECKBOXES",
            FormFieldKind::Hidden => "HIDDEN_FIELDS",
            FormFieldKind::Name | FormFieldKind::Text => "INPUT_TEXT",
        };
        let field = |answer: &FilledField| {
            let key = format!("question_{}", random_hex(6));
            json!({"key": key, "label": answer.name, "type": kind(answer.kind), "value": answer.to_json()})
        };
        body["eventId"] = json!(tellonce_fakes::generate_id());
        body["createdAt"] = json!(self.format_millis());
        let data = &mut body["data"];
        let id = random_hex(12);
        data["responseId"] = json!(id);
        data["submissionId"] = json!(id);
        data["respondentId"] = json!(random_hex(6));
        data["formId"] = self.form_id(&data["formId"]);
        data["createdAt"] = json!(self.format_millis());
        data["fields"] = fields.iter().map(field).collect();
        body.to_string()
    }

    /// The answers are JSON in one part of the body.
    fn build_jotform_body(&self, fields: &[FilledField]) -> anyhow::Result<String> {
        let recorded = read_sample_text("leads/jotform/submission.multipart");
        let line = |begins: &str| recorded.lines().find(|line| line.starts_with(begins)).unwrap_or_default();
        let (request, pretty, id, form_id) =
            (line("{\"slug\""), line("Full Name:"), "6100000000000000001", "263221000000001");
        let mut raw: Map<String, Value> = serde_json::from_str(request)?;
        raw.retain(|key, _| parse_jotform_key(key).is_none());
        raw.insert("submitDate".to_owned(), json!(self.now.as_millisecond().to_string()));
        for (place, answer) in fields.iter().enumerate() {
            // Jotform's keys begin with a number.
            let key = parse_jotform_key(&answer.name).unwrap_or_else(|| format!("q{}_{}", place + 20, answer.name));
            let (first, last) = PERSON;
            let field_value = match answer.kind {
                FormFieldKind::Phone => json!({"full": answer.value}),
                FormFieldKind::Name => json!({"first": first, "last": last}),
                FormFieldKind::Checkbox if !answer.is_ticked() => continue,
                FormFieldKind::Checkbox => json!([answer.value]),
                FormFieldKind::Email | FormFieldKind::Text | FormFieldKind::Hidden => json!(answer.value),
            };
            raw.insert(key, field_value);
        }
        let shown: Vec<_> = fields.iter().map(|answer| format!("{}:{}", answer.name, answer.value)).collect();
        let meant = self.form_id(&json!(form_id));
        let pairs = [
            (request, Value::Object(raw).to_string()),
            (pretty, shown.join(", ")),
            (id, format!("61{}", self.number)),
            (form_id, meant.as_str().unwrap_or_default().to_owned()),
        ];
        let pairs = pairs.each_ref().map(|(from, to)| (*from, to.as_str()));
        Ok(replace_all(&recorded, &pairs))
    }

    /// The labels of the fields are the keys.
    fn build_elementor_body(&self, fields: &[FilledField]) -> String {
        let form_id = self.form_id(&json!("a1b2c3d"));
        let mut body = form_urlencoded::Serializer::new(String::new());
        for answer in fields.iter().filter(|answer| !answer.value.is_empty()) {
            body.append_pair(&answer.name, &answer.to_text("on"));
        }
        body.append_pair("form_id", form_id.as_str().unwrap_or_default());
        body.append_pair("form_name", "Request an appointment");
        body.finish()
    }

    fn build_gravity_body(&self, fields: &[FilledField]) -> anyhow::Result<String> {
        let mut entry: Map<String, Value> =
            serde_json::from_slice(&read_sample("leads/wordpress/gravityforms_entry.json"))?;
        entry.retain(|key, _| !key.starts_with(|c: char| c.is_ascii_digit()));
        let at = self.now.strftime("%F %T").to_string();
        let form_id = self.form_id(&entry["form_id"]);
        let own = [("id", json!(self.number.to_string())), ("form_id", form_id)];
        let own = own.into_iter().chain([("date_created", json!(at)), ("date_updated", json!(at))]);
        entry.extend(own.map(|(name, value)| (name.to_owned(), value)));
        entry.extend(fields.iter().map(|answer| (answer.name.clone(), json!(answer.to_text("1")))));
        Ok(Value::Object(entry).to_string())
    }

    /// An event of an app's subscription. The API returns the contact itself.
    fn build_hubspot_event(&self, fields: &[FilledField]) -> anyhow::Result<String> {
        let mut body = read_sample_json("leads/hubspot/contact_creation.json");
        let event = &mut body[0];
        event["eventId"] = json!(self.number);
        event["objectId"] = json!(self.number);
        event["occurredAt"] = json!(self.now.as_millisecond());
        let properties = fields.iter().map(|answer| (property_name(answer).to_owned(), answer.to_text("true")));
        self.context.leads.put_contact(FakeHubspotContact {
            id: self.number.to_string(),
            created_at: self.now,
            properties: properties.collect(),
        })?;
        Ok(body.to_string())
    }

    /// A workflow's own step: the contact, each property with its value. No recording of one
    /// exists.
    fn build_hubspot_contact(&self, fields: &[FilledField]) -> String {
        let properties = fields.iter().map(|answer| (property_name(answer), json!({"value": answer.to_text("true")})));
        let properties: Map<String, Value> = properties.map(|(name, value)| (name.to_owned(), value)).collect();
        json!({"vid": self.number, "portal-id": 33, "is-contact": true, "properties": properties}).to_string()
    }

    /// The fields about the submission that the person does not fill in, if the client configures
    /// them or the recording has them.
    fn metadata_fields(&self) -> Vec<(&str, String)> {
        let FormFields { id, submitted_at, .. } = &self.form.fields;
        let usual_id = match self.form.kind {
            FormKind::Web => Some("lead_id"),
            FormKind::WpForms => Some("entry_id"),
            _ => None,
        };
        let id = id.as_deref().or(usual_id).map(|name| (name, self.number.to_string()));
        let submitted_at = submitted_at.as_deref().map(|name| (name, self.format_millis()));
        let form_id = self.form.form_ids.first().map(|id| ("form_id", id.clone()));
        id.into_iter().chain(submitted_at).chain(form_id).collect()
    }

    /// JSON with any names. A dot in a name is a step.
    fn build_json_body(&self, fields: &[FilledField]) -> Value {
        let pointer = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1").replace('.', "/"));
        let mut body = json!({});
        for (name, value) in self.metadata_fields() {
            put_at_pointer(&mut body, &pointer(name), json!(value));
        }
        for answer in fields {
            put_at_pointer(&mut body, &pointer(&answer.name), answer.to_json());
        }
        body
    }

    fn build_urlencoded_body(&self, fields: &[FilledField]) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(self.metadata_fields());
        for answer in fields.iter().filter(|answer| !answer.value.is_empty()) {
            body.append_pair(&answer.name, &answer.to_text("on"));
        }
        body.finish()
    }
}

/// The property of a contact. `properties.phone` is its place in a response.
fn property_name(answer: &FilledField) -> &str {
    answer.name.rsplit('.').next().unwrap_or(&answer.name)
}

/// Parses a key in Jotform's format, `q5_phoneNumber`.
fn parse_jotform_key(name: &str) -> Option<String> {
    let (number, _) = name.strip_prefix('q')?.split_once('_')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.to_owned())
}
