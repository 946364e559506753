//! `Invoke`, `GetFunctionConfiguration` and `UpdateFunctionConfiguration` of Lambda.
//!
//! Shapes: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>,
//! <https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html> and
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::{
    ACCOUNT, REGION,
    functions::{FunctionPool, InvokeError},
    iam::{FunctionRoles, RequestedAction},
    template::SamTemplate,
};

/// The functions, by their names of the cloud.
pub(crate) struct LambdaApi {
    /// What the full name of each function begins with.
    name_prefix: String,
    /// The variables of each function in the template, by the name of its binary.
    variables: BTreeMap<String, BTreeMap<String, String>>,
    functions: Arc<FunctionPool>,
    roles: Arc<FunctionRoles>,
}

impl LambdaApi {
    pub(crate) fn new(
        client: &str,
        template: &SamTemplate,
        functions: Arc<FunctionPool>,
        roles: Arc<FunctionRoles>,
    ) -> Self {
        let variables = template.functions.iter().map(|function| (function.name.clone(), function.env.clone()));
        Self { name_prefix: format!("tellonce-{client}-"), variables: variables.collect(), functions, roles }
    }

    pub(super) fn build_router(self) -> Router {
        Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .route("/2015-03-31/functions/{name}/configuration", get(get_configuration).put(update_configuration))
            .with_state(Arc::new(self))
    }
}

async fn invoke(
    State(api): State<Arc<LambdaApi>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = refuse(&api, &headers, "lambda:InvokeFunction", &name) {
        return refusal;
    }
    let function = name.strip_prefix(&api.name_prefix).unwrap_or(&name);
    match api.functions.invoke(function, body).await {
        Ok(response) => response.into_response(),
        Err(InvokeError::Unknown(_)) => not_found(&name),
        Err(error @ InvokeError::Stopping) => {
            error_response(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", &error.to_string())
        }
        Err(error) => {
            let kind = match &error {
                InvokeError::Function { kind, .. } => kind.as_str(),
                _ => "Runtime.Failed",
            };
            let body = json!({"errorType": kind, "errorMessage": error.to_string()}).to_string();
            ([("x-amz-function-error", "Unhandled")], body).into_response()
        }
    }
}

async fn get_configuration(
    State(api): State<Arc<LambdaApi>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refuse(&api, &headers, "lambda:GetFunctionConfiguration", &name) {
        return refusal;
    }
    let function = name.strip_prefix(&api.name_prefix).unwrap_or(&name);
    match api.variables.get(function) {
        Some(variables) => {
            let arn = function_arn(&name);
            json!({"FunctionName": name, "FunctionArn": arn, "Environment": {"Variables": variables}})
                .to_string()
                .into_response()
        }
        None => not_found(&name),
    }
}

/// Of a change, only what it does to processes: Lambda replaces them.
async fn update_configuration(
    State(api): State<Arc<LambdaApi>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refuse(&api, &headers, "lambda:UpdateFunctionConfiguration", &name) {
        return refusal;
    }
    let function = name.strip_prefix(&api.name_prefix).unwrap_or(&name);
    if !api.variables.contains_key(function) {
        return not_found(&name);
    }
    api.functions.replace_instances_of(function);
    json!({"FunctionName": name, "FunctionArn": function_arn(&name)}).to_string().into_response()
}

fn refuse(api: &LambdaApi, headers: &HeaderMap, action: &str, function: &str) -> Option<Response> {
    let refusal = api.roles.check_request(headers, &[RequestedAction::new(action, function_arn(function))])?;
    let message = refusal["Message"].as_str().unwrap_or_default();
    Some(error_response(StatusCode::FORBIDDEN, "AccessDeniedException", message))
}

fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

fn not_found(name: &str) -> Response {
    let message = format!("Function not found: {}", function_arn(name));
    error_response(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message)
}

fn error_response(status: StatusCode, kind: &str, message: &str) -> Response {
    let body: Value = json!({"Message": message});
    (status, [("x-amzn-errortype", kind)], body.to_string()).into_response()
}
