use serde::{Deserialize, Serialize};

/// A template of tasks: a file in a project's `.ccm/prompts/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Template {
    /// What it is called: its file, without `.md`.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200))]
    pub name: String,
    /// Its first line with something in it.
    pub title: String,
    /// Its places, in the order in which they come first.
    pub variables: Vec<TemplateVariable>,
    /// Whether it has a place for the task's own text.
    pub input: TemplateInput,
    /// The file's text. Null if that has more than 65,536 bytes; it can be rendered all the same.
    #[cfg_attr(feature = "openapi", schema(max_length = 65_536))]
    pub text: Option<String>,
    /// Why it can't be used; null if it can. One that can't has no variables and no text.
    pub problem: Option<String>,
}

/// A place in a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TemplateVariable {
    /// Its name.
    pub name: String,
    /// What it is without a value. It needs one if this is null.
    #[cfg_attr(feature = "openapi", schema(max_length = 1_048_576))]
    pub default: Option<String>,
}

/// Where in a template the task's own text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TemplateInput {
    /// To a place that needs it.
    Required,
    /// To a place that has a default.
    Optional,
    /// After everything else, if there is one.
    Appended,
}

/// A template to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenderTemplate {
    /// Its name, with or without `.md`.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 200,
            pattern = "^[^.\\u0000-\\u001F\\u007F-\\u009F/][^\\u0000-\\u001F\\u007F-\\u009F/]*$",
            example = "review"
        )
    )]
    pub template: String,
    /// Values for its places, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub variables: Vec<TemplateValue>,
    /// The task's own text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 1_048_576, pattern = "^[^\\u0000]*$")
    )]
    pub input: Option<String>,
}

/// A value for a place in a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateValue {
    /// The place.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 200,
            pattern = "^[A-Za-z_][A-Za-z0-9_-]*$",
            example = "file"
        )
    )]
    pub name: String,
    /// What is put there, as it is.
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 1_048_576, pattern = "^[^\\u0000]*$")
    )]
    pub value: String,
}

/// What a template came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenderedTemplate {
    /// A task's text.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1_048_576))]
    pub text: String,
    /// The title that a task of that text gets.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200))]
    pub title: String,
}
