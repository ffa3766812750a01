//! Values with variables, as `core::filter` reads them; here are the words for what is wrong in one.

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::shape::shorten;
use crate::core::filter::{Template, TemplateTrouble};

impl Lowering<'_> {
    /// A field value with variables.
    pub fn template(&mut self, at: NodeId, written: &str) -> Option<Template> {
        let written = self.field_value(at, written)?;
        let error = match Template::parse(&written) {
            Ok(template) => return Some(template),
            Err(error) => error,
        };
        match &error.trouble {
            TemplateTrouble::Unclosed => {
                self.error(at, "`%[` is not closed").help("variables are written `%[name]`, a percent sign `%%`");
            }
            TemplateTrouble::UnknownVariable(name) => {
                let known: Vec<_> = Template::variables().map(|name| format!("`%[{name}]`")).collect();
                self.error(at, format!("there is no variable `{}`", shorten(name)))
                    .did_you_mean(name, Template::variables())
                    .help(format!("variables: {}, `%[header(NAME)]`", known.join(", ")));
            }
            TemplateTrouble::FieldName(name) => {
                self.field_name(at, name);
            }
            TemplateTrouble::ControlByte => {
                self.error(at, error.to_string());
            }
        }
        None
    }
}
