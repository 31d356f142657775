//! What fuzz targets need of the inside.

use hyper::StatusCode;

use super::http::Reply;
use super::{failure, frames, wire};

/// What the server says of a failure: the first two bytes make the status.
pub fn refusal(data: &[u8]) {
    let (head, body) = data.split_at(data.len().min(2));
    let number = head.iter().fold(0_u16, |sum, byte| {
        sum.wrapping_mul(256).wrapping_add(u16::from(*byte))
    });
    let reply = Reply {
        status: StatusCode::from_u16(100 + number % 900).unwrap_or_default(),
        code: std::str::from_utf8(&body[..body.len().min(30)])
            .ok()
            .map(str::to_owned),
        body: bytes::Bytes::copy_from_slice(body),
    };
    let function = failure::of_function("ccm_push", &reply).into_error();
    for error in [function, failure::of_auth(&reply)] {
        let text = error.to_string();
        assert!(text.len() < 4000, "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// A frame of Realtime.
pub fn frame(text: &str) {
    frames::read(text);
}

/// The answers of the functions.
pub fn answer(data: &[u8]) {
    if let Ok(answer) = serde_json::from_slice::<wire::PushAnswer>(data) {
        let _ = answer.read(&[]);
    }
    if let Ok(answer) = serde_json::from_slice::<wire::PullAnswer>(data) {
        let _ = ccm_core::sync::Pulled::from(answer);
    }
    if let Ok(answer) = serde_json::from_slice::<wire::LeaseAnswer>(data) {
        let _ = ccm_core::sync::Lease::from(answer).period();
    }
    if let Ok(answer) = serde_json::from_slice::<wire::Registered>(data) {
        let _ = ccm_core::sync::Welcome::from(answer);
    }
    if let Ok(answer) = serde_json::from_slice::<wire::Devices>(data) {
        let _ = Vec::<ccm_core::sync::Device>::from(answer);
    }
}
