//! What texts of the API have to look like, for its description. The parsers and checks of the domain are what enforces
//! it.
//!
//! Patterns are written so that every dialect of regular expressions understands them: what is a letter beyond ASCII is
//! left to the checks.

use utoipa::ToSchema;

/// Names what a machine has or a task needs: letters, digits, `-`, `_`, `.`, `:` and `/`, at most 64 bytes.
#[derive(ToSchema)]
#[schema(
    value_type = String, min_length = 1, max_length = 64, pattern = r"^[^\u0000-\u002C\u003B-\u0040\u005B-\u005E\u0060\u007B-\u007F]+$", example = "gpu",
)]
pub struct Tag(());

/// A project's name: letters, digits, `-`, `_` and `.`, a letter or digit first.
#[derive(ToSchema)]
#[schema(
    value_type = String, min_length = 1, max_length = 64,
    pattern = r"^[^\u0000-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u007F][^\u0000-\u002C\u002F\u003A-\u0040\u005B-\u005E\u0060\u007B-\u007F]*$", example = "website",
)]
pub struct ProjectName(());

/// What a client is called: a person or a program.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[a-z0-9:_-]+$", example = "nightly-build")]
pub struct ClientName(());

/// A client's own name for one request that creates something.
#[derive(ToSchema)]
#[schema(
    value_type = String, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
    example = "5f0c1bd4-1a0b-4f0e-8c8e-0c6a3f2b8f11",
)]
pub struct IdempotencyKey(());

/// The place where a list goes on. Nothing but the `next_page_token` of an answer is one.
#[derive(ToSchema)]
#[schema(value_type = String, format = "page-token", min_length = 1, max_length = 64)]
pub struct PageToken(());

/// A browser's session.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 16, max_length = 16, pattern = "^[0-9a-f]{16}$", example = "9f86d081884c7d65")]
pub struct SessionId(());

/// A place in an event log: the log's id and the number of an event, `LOGID:SEQ`.
#[derive(ToSchema)]
#[schema(
    value_type = String, format = "event-id", max_length = 57, pattern = "^[0-9a-f-]{36}:[0-9]{1,20}$",
    example = "0198f2a4-3c5e-7b61-9d2f-8e4a6c1b7d90:42",
)]
pub struct EventId(());

/// An answer to one question: at most 64 KiB of UTF-8 without NUL.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 65_536, pattern = r"^[^\u0000]*$")]
pub struct AnswerWords(());
