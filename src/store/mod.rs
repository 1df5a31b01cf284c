//! State files: the only room that knows what a task, a setting or a session looks like in bytes, where
//! it lies, and how it gets there whole.

pub mod agents;
pub mod atomic;
pub mod bulk;
mod canon;
pub mod codec;
pub mod emit;
pub mod error;
pub mod facts;
pub mod index;
pub mod json;
pub mod layout;
pub mod memory;
pub mod nearest;
pub mod parse;
pub mod place;
mod prescan;
pub mod queries;
mod scalar;
pub mod scan;
pub mod seal;
pub mod session_file;
pub mod settings;
pub mod settings_edit;
pub mod settings_keys;
pub mod settings_load;
mod settings_value;
pub mod survey;
pub mod table;
pub mod task_lock;
pub mod tasks;
#[cfg(test)]
pub(crate) mod test_disk;
pub mod time;
pub mod wire;
