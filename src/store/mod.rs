//! The state directory: files, locks, and the index that is derived from them.
pub mod atomic;
pub mod index;
pub mod layout;
pub mod scan;
pub mod task_lock;
#[cfg(test)]
pub(crate) mod test_disk;
