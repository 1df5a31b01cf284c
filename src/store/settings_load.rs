//! stub
use super::settings::*;
use std::time::Duration;
pub struct Loaded { pub settings: Settings }
pub fn load(a: Option<&[u8]>, b: Option<&[u8]>, _: &[(String,String)]) -> Result<Loaded, String> {
    let text = format!("{}\n{}", String::from_utf8_lossy(a.unwrap_or_default()), String::from_utf8_lossy(b.unwrap_or_default()));
    let remote = text.lines().find_map(|l| l.strip_prefix("remote: ")).map(str::to_owned);
    Ok(Loaded { settings: Settings {
        lease: LeaseS { ttl: Duration::from_secs(900), grace: Duration::from_secs(30), drift: 1.25 },
        retry: RetryS { max_attempts: 3, backoff: vec![Duration::from_secs(60)], jitter: 0.1 },
        queue: QueueS { paused: false, stop_on_failure: false, max_concurrent: 0, limits: BTreeMap::new(), ageing: Duration::from_secs(86400) },
        sync: SyncS { lease_refs: LR::Custom, timeout: Duration::from_secs(30) }, remote, branch: "orch-state".into() } })
}
pub fn set(text: &str, key: &str, value: &str) -> Result<String, String> { Ok(format!("{}{key}: {value}\n", text.lines().filter(|l| !l.starts_with(key)).map(|l| format!("{l}\n")).collect::<String>())) }
