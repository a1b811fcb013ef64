//! Owns: Stripe's errors, in the shape and with the words that its API uses.

use super::card::Decline;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// A refusal by Stripe's API.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    /// Card errors carry the payment that failed: `charge`, `decline_code`, `payment_intent`, `payment_method`.
    payment: Option<Value>,
}

impl ApiError {
    fn request(status: StatusCode, code: Option<&'static str>, param: Option<&str>, message: String) -> ApiError {
        ApiError {
            status,
            kind: "invalid_request_error",
            code,
            message,
            param: param.map(str::to_owned),
            payment: None,
        }
    }

    pub fn unauthorized(message: &str) -> ApiError {
        ApiError::request(StatusCode::UNAUTHORIZED, None, None, message.to_owned())
    }

    pub fn missing(param: &str) -> ApiError {
        let message = format!("Missing required param: {param}.");
        ApiError::request(StatusCode::BAD_REQUEST, Some("parameter_missing"), Some(param), message)
    }

    pub fn unknown_parameter(param: &str) -> ApiError {
        let message = format!("Received unknown parameter: {param}");
        ApiError::request(StatusCode::BAD_REQUEST, Some("parameter_unknown"), Some(param), message)
    }

    pub fn invalid(param: &str, message: &str) -> ApiError {
        ApiError::request(StatusCode::BAD_REQUEST, None, Some(param), message.to_owned())
    }

    pub fn coded(code: &'static str, param: Option<&str>, message: &str) -> ApiError {
        ApiError::request(StatusCode::BAD_REQUEST, Some(code), param, message.to_owned())
    }

    pub fn no_such(object: &str, id: &str) -> ApiError {
        let message = format!("No such {object}: '{id}'");
        ApiError::request(StatusCode::NOT_FOUND, Some("resource_missing"), Some("id"), message)
    }

    pub fn no_such_param(object: &str, param: &str, id: &str) -> ApiError {
        let message = format!("No such {object}: '{id}'");
        ApiError::request(StatusCode::BAD_REQUEST, Some("resource_missing"), Some(param), message)
    }

    pub fn unrecognized_url(method: &str, path: &str) -> ApiError {
        let message =
            format!("Unrecognized request URL ({method}: {path}). The sandbox may not know this endpoint yet.");
        ApiError::request(StatusCode::NOT_FOUND, None, None, message)
    }

    pub fn version(version: &str) -> ApiError {
        let message = format!("Invalid Stripe API version: {version}. The sandbox speaks {}.", super::VERSION);
        ApiError::request(StatusCode::BAD_REQUEST, None, None, message)
    }

    pub fn idempotency_mismatch(key: &str) -> ApiError {
        ApiError {
            status: StatusCode::BAD_REQUEST,
            kind: "idempotency_error",
            code: None,
            message: format!(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. \
                 Try using a key other than '{key}' if you meant to execute a different request."
            ),
            param: None,
            payment: None,
        }
    }

    pub fn rate_limited() -> ApiError {
        let message = "Request rate limit exceeded. Wait a moment and try again.".to_owned();
        ApiError::request(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit"), None, message)
    }

    pub fn server() -> ApiError {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "api_error",
            code: None,
            message: "An unknown error occurred.".to_owned(),
            param: None,
            payment: None,
        }
    }

    /// A card that was declined: 402, with the payment as it stands now.
    pub fn card(decline: &Decline, charge: Option<&str>, intent: Value, method: Value) -> ApiError {
        let payment = json!({
            "charge": charge, "decline_code": decline.decline_code,
            "payment_intent": intent, "payment_method": method,
        });
        ApiError {
            status: StatusCode::PAYMENT_REQUIRED,
            kind: "card_error",
            code: Some(decline.code),
            message: decline.message.to_owned(),
            param: None,
            payment: Some(payment),
        }
    }

    /// Whether Stripe keeps this answer for the idempotency key: not if the request never began.
    pub fn is_kept(&self) -> bool {
        self.status == StatusCode::PAYMENT_REQUIRED || self.status.is_server_error()
    }

    pub fn json(&self, request_id: &str) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "request_log_url": format!("https://dashboard.stripe.com/test/logs/{request_id}"),
        });
        if let Value::Object(fields) = &mut error {
            if let Some(code) = self.code {
                fields.insert("code".to_owned(), json!(code));
                fields.insert(
                    "doc_url".to_owned(),
                    json!(format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"))),
                );
            }
            if let Some(param) = &self.param {
                fields.insert("param".to_owned(), json!(param));
            }
            if let Some(Value::Object(payment)) = &self.payment {
                fields
                    .extend(payment.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        json!({ "error": error })
    }
}
