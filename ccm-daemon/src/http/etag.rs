//! Which state of an object a request is about: `ETag`, `If-Match` and `If-None-Match`.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ccm_core::api::{ProblemCode, Task};
use ccm_core::id::Revision;

use super::error::ApiError;

/// The tag of a task as it is shown: its revision, and more where the answer says what is no change of the task itself,
/// such as what holds its project or what its run asks.
pub(crate) fn of_task(task: &Task) -> String {
    let asks: Vec<_> = task.open_asks.iter().map(|ask| ask.id).collect();
    if task.reason.is_none() && task.detail.is_none() && asks.is_empty() && task.sharing.is_none() {
        return format!("\"{}\"", task.revision);
    }
    let mut beside = DefaultHasher::new();
    (task.reason, &task.detail, asks).hash(&mut beside);
    if let Some(sharing) = &task.sharing {
        // What another machine says of it is no revision of what it is.
        let machine = sharing.runs_on.as_ref().map(|machine| machine.id);
        let told = (task.state.as_str(), task.updated_at, task.run_id);
        (told, machine, sharing.heard, sharing.sent, &sharing.wished).hash(&mut beside);
    }
    format!("\"{}-{:016x}\"", task.revision, beside.finish())
}

/// The tag of a task for a header.
pub(crate) fn header(task: &Task) -> (HeaderName, HeaderValue) {
    named(of_task(task))
}

/// A tag, in its quotes, for a header.
pub(crate) fn named(tag: String) -> (HeaderName, HeaderValue) {
    let tag = HeaderValue::try_from(tag);
    (
        header::ETAG,
        tag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
    )
}

/// What a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These, as they were written.
    Of(Vec<String>),
}

/// Reads a list of tags; `None` if it is none.
fn read(text: &str) -> Option<Tags> {
    let mut rest = text.trim();
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    loop {
        let weak = if rest.starts_with("W/") { 2 } else { 0 };
        let inner = rest.get(weak..)?.strip_prefix('"')?;
        let length = weak + 2 + inner.find('"')?;
        tags.push(rest.get(..length)?.to_owned());
        rest = rest.get(length..)?.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => return Some(Tags::Of(tags)),
            None => return None,
        }
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Result<Tags, ApiError>> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(|v| v.as_bytes()).collect();
    if values.is_empty() {
        return None;
    }
    let text = String::from_utf8(values.join(&b", "[..]));
    let tags = text.ok().and_then(|text| read(&text));
    Some(tags.ok_or_else(|| {
        let name = name.as_str();
        ApiError::part(
            ProblemCode::BadRequest,
            name,
            format!("{name} must be the ETag of an earlier answer, with its quotes, or *"),
        )
    }))
}

/// `If-Match`, which an edit must have: the revisions that the editor may have seen.
#[derive(Debug)]
pub(crate) struct IfMatch(Tags);

impl IfMatch {
    /// Whether an object with this tag, which is without its quotes, is one that was seen.
    pub(crate) fn fits(&self, present: &str) -> bool {
        match &self.0 {
            Tags::Any => true,
            Tags::Of(tags) => tags.iter().any(|tag| *tag == format!("\"{present}\"")),
        }
    }

    /// The revision that must be the present one. `None` for whatever there is.
    pub(crate) fn revision(&self, present: Revision) -> Option<Revision> {
        let Tags::Of(tags) = &self.0 else {
            return None;
        };
        // A weak tag never matches here, and neither does one that was never given out.
        let seen = tags.iter().filter_map(|tag| {
            let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
            let number = tag.split_once('-').map_or(tag, |(number, _)| number);
            number.parse().ok().map(Revision)
        });
        let seen: Vec<Revision> = seen.collect();
        let fits = seen.iter().copied().find(|seen| *seen == present);
        Some(fits.or(seen.first().copied()).unwrap_or(Revision(0)))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match tags(&parts.headers, &header::IF_MATCH) {
            Some(tags) => tags.map(Self),
            None => Err(ApiError::part(
                ProblemCode::PreconditionRequired,
                "if-match",
                "say which revision you saw: send `If-Match` with the `ETag` of the answer that you edit",
            )),
        }
    }
}

/// `If-None-Match`: what the reader has already.
#[derive(Debug)]
pub(crate) struct IfNoneMatch(Option<Tags>);

impl IfNoneMatch {
    /// Whether the reader has what `tag` is the tag of.
    pub(crate) fn has(&self, tag: &str) -> bool {
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::Of(tags)) => tags
                .iter()
                .any(|known| known.strip_prefix("W/").unwrap_or(known) == tag),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        // One that can't be read is one that doesn't match.
        let tags = tags(&parts.headers, &header::IF_NONE_MATCH);
        Ok(Self(tags.and_then(Result::ok)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tags: &[&str]) -> Option<Tags> {
        Some(Tags::Of(tags.iter().map(|tag| (*tag).to_owned()).collect()))
    }

    #[test]
    fn lists_of_tags_are_read() {
        assert_eq!(read(" * "), Some(Tags::Any));
        assert_eq!(read("\"1\""), of(&["\"1\""]));
        assert_eq!(read("W/\"a,b\" ,\"2\""), of(&["W/\"a,b\"", "\"2\""]));
        for none in [
            "",
            "1",
            "\"1",
            "\"1\" \"2\"",
            "\"1\",",
            "*, \"1\"",
            "w/\"1\"",
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn only_strong_tags_name_a_revision() {
        let seen = |text: &str| IfMatch(read(text).unwrap()).revision(Revision(3));
        assert_eq!(seen("*"), None);
        assert_eq!(seen("\"3\""), Some(Revision(3)));
        assert_eq!(seen("\"2\", \"3-00ff\""), Some(Revision(3)));
        for stale in ["\"2\"", "W/\"3\"", "\"x\"", "\"\"", "\"-3\""] {
            assert_ne!(seen(stale), Some(Revision(3)), "{stale}");
            assert!(seen(stale).is_some(), "{stale}");
        }
    }
}
