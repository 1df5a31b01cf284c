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
pub mod settings_load;
pub mod time;
pub mod wire;
