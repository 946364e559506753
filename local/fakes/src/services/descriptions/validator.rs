//! Validates a value by a JSON Schema.

use jsonschema::{Draft, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Value, json};

/// A place in the value, as a JSON pointer, and what is wrong there. Holds no value.
pub(super) type SchemaProblem = (String, String);

/// A schema that was read.
#[derive(Debug)]
pub(super) struct SchemaValidator(Validator);

impl SchemaValidator {
    /// A schema that may refer to `#/$defs/…`.
    pub(super) fn build(schema: &Value, definitions: &Value) -> anyhow::Result<Self> {
        let schema = json!({ "allOf": [schema], "$defs": definitions });
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        Ok(Self(options.build(&schema).map_err(ValidationError::to_owned)?))
    }

    pub(super) fn find_problems(&self, value: &Value) -> Vec<SchemaProblem> {
        let mut problems = Vec::new();
        for error in self.0.iter_errors(value) {
            add_problems(&error, &mut problems);
        }
        problems
    }
}

/// Adds an error. If one of several schemas must hold, the errors of all of them name the fields.
fn add_problems(error: &ValidationError<'_>, problems: &mut Vec<SchemaProblem>) {
    let place = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|error| add_problems(error, problems));
        }
        ValidationErrorKind::Required { property } => {
            problems.push((format!("{place}/{}", property.as_str().unwrap_or_default()), "is required".to_owned()));
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            problems
                .extend(unexpected.iter().map(|name| (format!("{place}/{name}"), "is not a known field".to_owned())));
        }
        _ => problems.push((place.to_owned(), error.masked().to_string())),
    }
}
