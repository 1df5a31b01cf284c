//! Supervised children: the types of the seam, and the real implementation.
/// to come
pub struct Command {}
/// to come
pub trait Child {}
