//! Runs: attempts at tasks.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "run")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub task_id: Vec<u8>,
    pub project_id: Vec<u8>,
    pub agent_id: Vec<u8>,
    pub system_id: Vec<u8>,
    pub attempt: i64,
    pub token: i64,
    pub lease_until: Option<i64>,
    /// `launching`, `running` or `ended`.
    pub state: String,
    pub claimed_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub held: Option<String>,
    /// A decision to end it, JSON.
    pub stop: Option<String>,
    pub out_offset: i64,
    pub err_offset: i64,
    pub parser_version: Option<i64>,
    pub parser_data: Option<String>,
    pub session_id: Option<String>,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
    pub cost_usd: Option<f64>,
    /// JSON.
    pub outcome: Option<String>,
    pub open_asks: i64,
    /// Since when it waits for a person.
    pub asked_since: Option<i64>,
    /// How long it waited for people before that.
    pub waited: i64,
    /// Why its model's provider lets it wait, JSON.
    pub parked: Option<String>,
    /// The number of the last input.
    pub last_input: i64,
    pub inputs_closed: bool,
    /// Who interrupted it and when, JSON, while nobody has said how it goes on.
    pub interrupted: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
