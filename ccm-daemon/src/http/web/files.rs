//! The files of the page, as the crate's build made them: compressed, because that is how browsers take them.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

pub(super) struct File {
    pub(super) path: &'static str,
    gzip: &'static [u8],
}

/// None in builds without the web UI; `WebUi` never says that it is served in those.
#[cfg(feature = "web-ui")]
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));
#[cfg(not(feature = "web-ui"))]
static FILES: &[File] = &[];

pub(super) fn all() -> impl Iterator<Item = &'static File> {
    FILES.iter()
}

pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// The content as text with each of `places` filled in.
    pub(super) fn text(&self, places: &[(&str, &str)]) -> String {
        let mut text = String::from_utf8_lossy(&self.plain()).into_owned();
        for (place, value) in places {
            text = text.replace(place, value);
        }
        text
    }

    #[cfg(feature = "web-ui")]
    fn plain(&self) -> Vec<u8> {
        use std::io::Read;

        let mut plain = Vec::new();
        // The build compressed it, so there is nothing that could be wrong with it.
        let _ = flate2::read::GzDecoder::new(self.gzip).read_to_end(&mut plain);
        plain
    }

    #[cfg(not(feature = "web-ui"))]
    fn plain(&self) -> Vec<u8> {
        self.gzip.to_vec()
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("json" | "webmanifest") => "application/json",
            Some("png") => "image/png",
            Some("woff2") => "font/woff2",
            _ => "application/octet-stream",
        }
    }

    /// The file as this client takes it.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let (body, encoding): (Cow<'static, [u8]>, _) = match takes_gzip(asked) {
            true => (Cow::Borrowed(self.gzip), Some("gzip")),
            false => (Cow::Owned(self.plain()), None),
        };
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind()));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

/// Whether a client can read gzip. One that says nothing of encodings takes any, but most of these mean none.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let given = asked.get_all(header::ACCEPT_ENCODING);
    let lists = given.iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_asks_for_it() {
        for (given, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("br", false),
            ("gzip;q=0", false),
            ("identity", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(given));
            assert_eq!(takes_gzip(&headers), takes, "{given}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    #[cfg(feature = "web-ui")]
    fn what_is_linked_is_there() {
        let page = find(super::super::INDEX).unwrap().text(&[]);
        let assets = page.split('"').filter(|text| text.starts_with("/assets/"));
        let missing: Vec<_> = assets.filter(|path| find(path).is_none()).collect();
        assert_eq!(missing, Vec::<&str>::new());
        assert!(find(super::super::REFUSED).is_some());
    }
}
