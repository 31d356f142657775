use std::collections::BTreeMap;

use ccm_core::api::{
    RenderTemplate, RenderedTemplate, Template, TemplateInput, TemplateValue, TemplateVariable,
};
use ccm_core::id::ProjectId;
use ccm_core::task::TaskText;
use ccm_core::{Error, Result};

use super::App;
use super::projects::{Refusal, blocking};
use crate::machine::prompts::{self, INPUT, is_variable};
use crate::machine::{NoTemplate, ProjectDir, Prompts, Unfilled};

/// The most templates that are listed.
const MOST_LISTED: usize = 200;
/// The most values that are taken.
const MOST_VALUES: usize = 100;
/// The longest text that a list has.
const LISTED_TEXT: usize = 64 * 1024;

/// Why a template was not filled in.
#[derive(Debug)]
pub(crate) enum NotRendered {
    /// It is not there, or can't be used.
    NoTemplate(NoTemplate),
    /// What was given for it does not fit: what is wrong, and the parts of the request that are.
    Misfit(String, Vec<(String, String)>),
    /// Something else.
    Other(Refusal),
}

impl From<Error> for NotRendered {
    fn from(error: Error) -> Self {
        Self::Other(error.into())
    }
}

impl App {
    /// The first of a project's templates by name, and how many there are.
    pub(crate) async fn templates(&self, id: ProjectId) -> Result<(Vec<Template>, usize), Refusal> {
        let project = self.project_here(id, "its templates are used").await?;
        blocking(move || {
            let dir = ProjectDir::open(&project.path).map_err(Refusal::Unusable)?;
            let prompts = Prompts::of(&dir);
            let names = prompts.names().map_err(|error| {
                let folder = prompts.folder().display();
                Refusal::Unusable(Error::invalid(format!("{folder} can't be read: {error}")))
            })?;
            let shown = names.iter().take(MOST_LISTED);
            let shown = shown.map(|name| listed(name, prompts.find(name)));
            Ok((shown.collect(), names.len()))
        })
        .await
    }

    /// The text that a template and what is given for it come to.
    pub(crate) async fn render_template(
        &self,
        id: ProjectId,
        request: RenderTemplate,
    ) -> Result<RenderedTemplate, NotRendered> {
        let project = self.project_here(id, "its templates are used").await?;
        blocking(move || {
            let unusable = |error| NotRendered::Other(Refusal::Unusable(error));
            let dir = ProjectDir::open(&project.path).map_err(unusable)?;
            let template = Prompts::of(&dir).find(&request.template);
            let template = template.map_err(NotRendered::NoTemplate)?;
            let values = values(&request.variables)?;
            let filled = template.fill(&values, request.input.as_deref());
            let text = filled.map_err(|unfilled| misfit(&request, unfilled))?;
            let text = TaskText::new(text)?;
            Ok(RenderedTemplate {
                title: text.title().into(),
                text: text.into(),
            })
        })
        .await
    }
}

fn listed(name: &str, found: Result<prompts::Template, NoTemplate>) -> Template {
    match found {
        Err(error) => Template {
            name: name.to_owned(),
            title: String::new(),
            variables: Vec::new(),
            input: TemplateInput::Appended,
            text: None,
            problem: Some(error.to_string()),
        },
        Ok(template) => {
            let variables = template.variables().into_iter();
            Template {
                title: template.title(),
                variables: variables
                    .filter(|variable| variable.name != INPUT)
                    .map(|variable| TemplateVariable {
                        name: variable.name,
                        default: variable.default,
                    })
                    .collect(),
                input: match template.input() {
                    None => TemplateInput::Appended,
                    Some(place) if place.default.is_some() => TemplateInput::Optional,
                    Some(_) => TemplateInput::Required,
                },
                name: template.name,
                text: Some(template.text).filter(|text| text.len() <= LISTED_TEXT),
                problem: None,
            }
        }
    }
}

fn values(given: &[TemplateValue]) -> Result<BTreeMap<String, String>, NotRendered> {
    if given.len() > MOST_VALUES {
        let message = format!("at most {MOST_VALUES} values can be given");
        let part = ("/variables".to_owned(), message.clone());
        return Err(NotRendered::Misfit(message, vec![part]));
    }
    let mut values = BTreeMap::new();
    for (at, TemplateValue { name, value }) in given.iter().enumerate() {
        let wrong = |message: String| {
            let part = (format!("/variables/{at}/name"), message.clone());
            NotRendered::Misfit(message, vec![part])
        };
        if !is_variable(name) {
            return Err(wrong(format!("{name:?} can't be the name of a place")));
        }
        if values.insert(name.clone(), value.clone()).is_some() {
            return Err(wrong(format!("{name} is given twice")));
        }
    }
    Ok(values)
}

fn misfit(request: &RenderTemplate, unfilled: Unfilled) -> NotRendered {
    let template = &request.template;
    match unfilled {
        Unfilled::Missing(names) => {
            let part = |name: &String| match &**name {
                INPUT => ("/input".to_owned(), "the text is missing".to_owned()),
                name => ("/variables".to_owned(), format!("{name} has no value")),
            };
            NotRendered::Misfit(
                format!("the template {template} needs {}", names.join(", ")),
                names.iter().map(part).collect(),
            )
        }
        Unfilled::Unknown { name, there, .. } => {
            let there = match there.is_empty() {
                true => "it has none to fill in".to_owned(),
                false => format!("it has {}", there.join(", ")),
            };
            let message = format!("the template {template} has no place {name}: {there}");
            let at = request.variables.iter().position(|one| one.name == name);
            let pointer = format!("/variables/{}/name", at.unwrap_or_default());
            NotRendered::Misfit(message.clone(), vec![(pointer, message)])
        }
        Unfilled::TooLong => NotRendered::Misfit(
            format!("the template {template} comes to more than 1 MiB with that"),
            Vec::new(),
        ),
    }
}
