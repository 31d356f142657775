use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use ccm_core::api::Stats;
use ccm_core::id::ProjectId;
use ccm_core::stats::{Span, StatsQuery};
use ccm_core::time::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Query, Routes, openapi};
use crate::http::error::ApiError;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A quarter of an hour of a day.
const BUCKETS: u32 = 96;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get_stats))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct When {
    /// Where the time begins; a day before its end without it.
    from: Option<Timestamp>,
    /// Before where it ends; now without it. At most ten years after `from`, and at least a millisecond for each bucket.
    to: Option<Timestamp>,
    /// In how many equal parts.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 96)]
    buckets: Option<u32>,
    /// Only of this project.
    project_id: Option<ProjectId>,
}

/// What happened when
///
/// How many tasks were created and ended in each part of a time, how long they waited, and what runs cost and used: what
/// plots are made of.
#[utoipa::path(
    get,
    path = "/stats",
    operation_id = "get_stats",
    tag = "daemon",
    params(When),
    responses(
        (status = 200, description = "The figures", body = Stats),
        openapi::BadRequest, openapi::Unavailable,
    ),
)]
async fn get_stats(State(app): State<Arc<App>>, Query(when): Query<When>) -> Answer<Json<Stats>> {
    let to = when.to.unwrap_or_else(|| app.now());
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    let before = || Timestamp::from_micros(to.as_micros().saturating_sub(day));
    let from = when.from.unwrap_or_else(before);
    let span = Span::new(from, to, when.buckets.unwrap_or(BUCKETS));
    let query = StatsQuery {
        span: span.map_err(|error| ApiError::bad_request(error.to_string()))?,
        project: when.project_id,
    };
    let buckets = app.engine().store().stats(&query).await?;
    Ok(Json(Stats::new(&query, &buckets)))
}
