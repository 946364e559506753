//! Reports for the tests of what people read.

use tellonce_ops::{MessageReport, ReportStep, Standing};

pub(crate) fn step(at: &str, label: &str, explanation: &str) -> ReportStep {
    ReportStep {
        at: at.parse().unwrap(),
        code: String::new(),
        label: label.to_owned(),
        explanation: explanation.to_owned(),
        begins_at: None,
    }
}

pub(crate) fn message(key: &str, standing: Standing, steps: Vec<ReportStep>) -> MessageReport {
    MessageReport {
        key: key.to_owned(),
        standing,
        state: "held",
        delivery_status: None,
        reason: None,
        line: "main".to_owned(),
        to: Some("+972…0199".to_owned()),
        delivery: "shop#1".to_owned(),
        made_by: Some("1a2b3c4d5e6f-89abcdef".to_owned()),
        useful_until: "2026-11-25T18:00:00Z".parse().unwrap(),
        next_try: None,
        steps,
        may_lack_steps: false,
    }
}
