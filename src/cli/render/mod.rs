//! What people read: tables, pages and timelines. Nothing here decides anything, and nothing from a file
//! reaches a terminal without passing through [`text`].

pub mod live;
pub mod page;
pub mod rehearsal;
pub mod style;
pub mod table;
pub mod tasks;
pub mod text;
pub mod time;
pub mod timeline;
