//! State files: the only room that knows what a task, a setting or a session looks like in bytes.

mod canon;
pub mod codec;
pub mod emit;
pub mod json;
pub mod nearest;
pub mod parse;
mod scalar;
mod scan;
pub mod seal;
pub mod settings;
pub mod settings_edit;
pub mod settings_keys;
pub mod settings_load;
mod settings_value;
pub mod time;
pub mod wire;
