//! One file a resource: each route's description and its handler.

pub(super) mod access;
pub(super) mod agents;
pub(super) mod asks;
pub(super) mod bulk;
pub(super) mod config;
pub(super) mod events;
pub(super) mod health;
pub(super) mod interrupt;
pub(super) mod metrics;
pub(super) mod projects;
pub(super) mod runs;
pub(super) mod stats;
pub(super) mod status;
pub(super) mod sync;
pub(super) mod systems;
pub(super) mod tasks;
pub(super) mod templates;
pub(super) mod terminal;
pub(super) mod trust;

use std::sync::Arc;

use ccm_core::api::Page;
use utoipa_axum::router::OpenApiRouter;

use super::error::Answer;
use super::extract::{Caller, Client, CommaList, Id, Json, Key, Offset, Query};
use super::openapi;
use crate::app::App;

type Routes = OpenApiRouter<Arc<App>>;

/// A list that always comes as a whole.
fn whole<T>(items: Vec<T>) -> Page<T> {
    Page {
        items,
        next_page_token: None,
        total: None,
    }
}
