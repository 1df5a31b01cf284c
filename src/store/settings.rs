//! stub
use std::time::Duration;
pub use std::collections::BTreeMap;
pub const DEFAULT_ORCH_YAML: &str = "";
pub struct LeaseS { pub ttl: Duration, pub grace: Duration, pub drift: f64 }
pub struct RetryS { pub max_attempts: u32, pub backoff: Vec<Duration>, pub jitter: f64 }
pub struct QueueS { pub paused: bool, pub stop_on_failure: bool, pub max_concurrent: u32, pub limits: BTreeMap<String, u32>, pub ageing: Duration }
pub enum LR { Custom, Branches }
impl LR { pub fn is_branches(&self) -> bool { matches!(self, LR::Branches) } }
pub struct SyncS { pub lease_refs: LR, pub timeout: Duration }
pub struct Settings { pub lease: LeaseS, pub retry: RetryS, pub queue: QueueS, pub sync: SyncS, pub remote: Option<String>, pub branch: String }
