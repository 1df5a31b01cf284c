//! `orch schema`: the hand-written JSON Schemas of what orch reads and writes.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::cli::context::Context;
use crate::usecase::error::{Error, Result};

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// A task, as in files and in JSON.
    Task,
    /// The document on standard error.
    Error,
    /// The document on standard output.
    Envelope,
    /// The manifest of a bundle.
    Manifest,
    /// The shared settings, orch.yaml.
    Settings,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::Task => include_str!("../schema/task.json"),
            Name::Error => include_str!("../schema/error.json"),
            Name::Envelope => include_str!("../schema/envelope.json"),
            Name::Manifest => include_str!("../schema/manifest.json"),
            Name::Settings => include_str!("../schema/settings.json"),
        }
    }
}

/// Print the JSON Schema of a document
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch schema task
  orch schema envelope > envelope.schema.json")]
pub struct Schema {
    /// The document
    #[arg(value_name = "NAME", value_enum)]
    pub name: Name,
}

impl Schema {
    /// Prints it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let text = self.name.text();
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| Error::failure(format!("schema {:?}: {error}", self.name)))?;
        context.print(|| schema, |_| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_json_and_says_what_it_is() {
        for name in Name::value_variants() {
            let schema: Value = serde_json::from_str(name.text()).unwrap_or_else(|e| panic!("{name:?}: {e}"));
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name:?}");
            assert!(schema["title"].is_string() && schema["type"] == "object", "{name:?}");
            assert!(name.text().ends_with("}\n"), "{name:?}");
        }
    }
}
