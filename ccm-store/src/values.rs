//! Between columns and the domain's types.

use std::time::Duration;

use ccm_core::id::{AgentId, AskId, InputId, LogId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::time::Timestamp;
use ccm_core::{Reason, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::corrupt;

/// An id as 16 bytes.
pub(crate) trait Id: Sized {
    /// From a column.
    fn read(bytes: &[u8]) -> Result<Self>;
    /// For a column.
    fn bytes(&self) -> Vec<u8>;
}

macro_rules! ids {
    ($($name:ident)*) => {$(
        impl Id for $name {
            fn read(bytes: &[u8]) -> Result<Self> {
                Uuid::from_slice(bytes).map(Self::from_uuid).map_err(|_| corrupt("id"))
            }

            fn bytes(&self) -> Vec<u8> {
                self.as_uuid().as_bytes().to_vec()
            }
        }
    )*};
}

ids! { SystemId ProjectId AgentId TaskId RunId AskId InputId LogId }

impl Id for Uuid {
    fn read(bytes: &[u8]) -> Result<Self> {
        Self::from_slice(bytes).map_err(|_| corrupt("id"))
    }

    fn bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

/// An id from a column that may be empty.
pub(crate) fn optional_id<T: Id>(bytes: Option<&Vec<u8>>) -> Result<Option<T>> {
    bytes.map(|bytes| T::read(bytes)).transpose()
}

/// Ids from one column that holds them one after another.
pub(crate) fn id_list<T: Id>(bytes: &[u8]) -> Result<Vec<T>> {
    bytes.chunks(16).map(T::read).collect()
}

/// Ids for one column that holds them one after another.
pub(crate) fn id_list_bytes<'a, T: Id + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Vec<u8> {
    ids.into_iter().flat_map(Id::bytes).collect()
}

/// A number that was never negative.
pub(crate) fn count(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| corrupt("number"))
}

/// A number that was never negative and small.
pub(crate) fn small(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| corrupt("number"))
}

/// A number for a column. Beyond SQLite's range the largest one is kept.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A date from a column that may be empty.
pub(crate) fn date(value: Option<i64>) -> Option<Timestamp> {
    value.map(Timestamp::from_micros)
}

/// A date that must be there.
pub(crate) fn required_date(value: Option<i64>) -> Result<Timestamp> {
    date(value).ok_or_else(|| corrupt("date"))
}

/// A date for a column.
pub(crate) fn micros(value: Option<Timestamp>) -> Option<i64> {
    value.map(Timestamp::as_micros)
}

/// A length of time from a column.
pub(crate) fn length(micros: i64) -> Result<Duration> {
    count(micros).map(Duration::from_micros)
}

/// A length of time for a column. Beyond SQLite's range the longest one is kept.
pub(crate) fn length_micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// A reason from a column that may be empty.
pub(crate) fn reason(value: Option<&String>) -> Result<Option<Reason>> {
    value
        .map(|text| text.parse().map_err(|_| corrupt("reason")))
        .transpose()
}

/// A value kept as JSON.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(what).with_source(error))
}

/// A value for a column that keeps JSON.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    // The domain's types have string keys and no fallible parts, so this can't fail; an empty object would be told as
    // corrupt by whoever reads it.
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}
