use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use ccm_core::api::Page;
use futures_util::Stream;
use serde::de::DeserializeOwned;

use super::Result;
use super::transport::{Call, Transport};

/// A list that is fetched part by part, as far as it is read.
pub struct Pages<T> {
    transport: Arc<Transport>,
    call: Call,
    place: Place,
    kind: PhantomData<fn() -> T>,
}

enum Place {
    Start,
    After(String),
    End,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(super) fn new(transport: Arc<Transport>, call: Call) -> Self {
        Self {
            transport,
            call,
            place: Place::Start,
            kind: PhantomData,
        }
    }

    /// The next part; `None` after the last one. After an error the same part is asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<T>>> {
        let token = match &self.place {
            Place::Start => None,
            Place::After(token) => Some(token),
            Place::End => return Ok(None),
        };
        let call = self.call.clone().query("page_token", token);
        let page: Page<T> = self.transport.send(&call).await?.json()?;
        self.place = match page.next_page_token {
            Some(token) => Place::After(token),
            None => Place::End,
        };
        Ok(Some(page.items))
    }

    /// Everything, or the first `most` of it.
    pub async fn take(mut self, most: usize) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while all.len() < most
            && let Some(items) = self.next_page().await?
        {
            all.extend(items);
        }
        all.truncate(most);
        Ok(all)
    }

    /// Everything.
    pub async fn all(self) -> Result<Vec<T>> {
        self.take(usize::MAX).await
    }

    /// One object after the other. The stream ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<T>> {
        let start = Some((self, VecDeque::new()));
        futures_util::stream::unfold(start, |state| async {
            let (mut pages, mut items) = state?;
            loop {
                if let Some(item) = items.pop_front() {
                    return Some((Ok(item), Some((pages, items))));
                }
                match pages.next_page().await {
                    Ok(Some(page)) => items = page.into(),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
    }
}
