//! Parts of lists: how large, and where they go on.

use std::str::FromStr;

use ccm_core::api;
use ccm_core::store;
use serde::{Deserialize, Deserializer, de};

/// How many objects a part of a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageSize(pub(crate) u32);

const MOST: u32 = 200;

impl Default for PageSize {
    fn default() -> Self {
        Self(50)
    }
}

impl<'de> Deserialize<'de> for PageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(size @ 1..=MOST) => Ok(Self(size)),
            _ => Err(de::Error::custom(format!(
                "page_size must be 1 to {MOST}, found {text:?}"
            ))),
        }
    }
}

/// Where a list goes on: after the object with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageToken<T>(pub(crate) T);

impl<'de, T: FromStr> Deserialize<'de> for PageToken<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = text.strip_prefix("after-").and_then(|id| id.parse().ok());
        id.map(Self).ok_or_else(|| {
            de::Error::custom("page_token must be the next_page_token of the part before")
        })
    }
}

/// The wire form of a part of a list.
pub(crate) fn page<T, W>(
    page: store::Page<T>,
    id: impl Fn(&T) -> String,
    wire: impl FnMut(T) -> W,
) -> api::Page<W> {
    let next = page.items.last().filter(|_| page.more);
    let next_page_token = next.map(|last| format!("after-{}", id(last)));
    api::Page {
        items: page.items.into_iter().map(wire).collect(),
        next_page_token,
    }
}
