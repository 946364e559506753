//! `GetCallerIdentity` of STS. The access key id of a request is the caller's name.
//!
//! Shape: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};

use crate::{ACCOUNT, iam};

pub(super) fn answer(headers: &HeaderMap, body: &[u8]) -> Response {
    let is_question = String::from_utf8_lossy(body).split('&').any(|field| field == "Action=GetCallerIdentity");
    let Some(caller) = iam::find_access_key(headers).filter(|_| is_question) else {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>the local stack has \
                     only GetCallerIdentity</Message></Error></ErrorResponse>";
        return xml_response(StatusCode::BAD_REQUEST, error.to_owned());
    };
    // An access key id holds no character that XML has to escape.
    let arn = match caller.strip_prefix(iam::ACCESS_KEY_PREFIX) {
        Some(role) => format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/local"),
        None => format!("arn:aws:iam::{ACCOUNT}:user/{caller}"),
    };
    xml_response(
        StatusCode::OK,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>{arn}</Arn><UserId>{caller}</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
            tellonce_fakes::generate_id()
        ),
    )
}

fn xml_response(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
}
