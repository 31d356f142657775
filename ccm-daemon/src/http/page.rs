//! Parts of lists: how large, and where they go on.

use std::str::FromStr;

use ccm_core::api;
use ccm_core::id::TaskId;
use ccm_core::store;
use ccm_core::task::{Rank, Spot};
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

/// Where a list of tasks goes on, in either of its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskPlace {
    /// Newest first: after this one.
    Newest(TaskId),
    /// In the order of a queue: after this place.
    Queue(Spot),
}

impl TaskPlace {
    /// The token for a place in a queue.
    pub(crate) fn of_queue(spot: &Spot) -> String {
        format!("{}_{}_{}", spot.priority, spot.rank.as_number(), spot.task)
    }
}

impl FromStr for TaskPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let part = |part: Option<&str>| part.map(str::to_owned).ok_or(());
        let mut parts = text.split('_');
        let first = part(parts.next())?;
        if let Ok(id) = first.parse() {
            return parts.next().is_none().then_some(Self::Newest(id)).ok_or(());
        }
        let spot = Spot {
            priority: first.parse().map_err(drop)?,
            rank: Rank::from_number(part(parts.next())?.parse().map_err(drop)?),
            task: part(parts.next())?.parse().map_err(drop)?,
        };
        parts
            .next()
            .is_none()
            .then_some(Self::Queue(spot))
            .ok_or(())
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
        total: None,
    }
}
