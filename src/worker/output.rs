//! One output of a command on its way into the bundle: without secrets, bounded, with a trace of when what
//! was written.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::bundle::Bundle;
use super::capture::Capture;
use super::manifest::OutputRecord;
use super::redact::{Redactor, Secrets};
use crate::world::process::Stream;

/// Least time between two events about one output.
const EVENT_GAP: Duration = Duration::from_millis(250);

/// An output that is being written.
pub(super) struct Output {
    step: usize,
    /// Which one.
    pub stream: Stream,
    file: String,
    redactor: Redactor,
    capture: Capture,
    produced: u64,
    /// Bytes of the log file that events have told of, and when the last one was written.
    told: u64,
    told_at: Option<Duration>,
}

impl Output {
    /// Creates the log file of a stream of a step; `cap` bounds its size in bytes.
    pub fn new(
        bundle: &mut Bundle<'_>,
        (step, stem, stream): (usize, &str, Stream),
        secrets: &Rc<Secrets>,
        cap: u64,
    ) -> Self {
        let file = format!("{stem}.{}.log", stream.name());
        bundle.append(&file, b"");
        let redactor = Redactor::new(Rc::clone(secrets));
        let capture = Capture::new(cap);
        Output { step, stream, file, redactor, capture, produced: 0, told: 0, told_at: None }
    }

    /// Takes the next bytes; returns what may be shown of them and of earlier ones.
    pub fn take(&mut self, bundle: &mut Bundle<'_>, bytes: &[u8], now: Duration) -> Vec<u8> {
        self.produced += bytes.len() as u64;
        let clean = self.redactor.push(bytes);
        self.store(bundle, &clean);
        if self.told_at.is_none_or(|at| now.saturating_sub(at) >= EVENT_GAP) {
            self.told_at = Some(now);
            self.tell(bundle);
        }
        clean
    }

    fn store(&mut self, bundle: &mut Bundle<'_>, clean: &[u8]) {
        let head = self.capture.push(clean);
        if !head.is_empty() {
            bundle.append(&self.file, head);
        }
    }

    /// Which bytes of the log file are new.
    fn tell(&mut self, bundle: &mut Bundle<'_>) {
        let stored = self.capture.stored();
        if stored > self.told {
            let fields =
                json!({"step": self.step, "stream": self.stream.name(), "from": self.told, "to": stored});
            bundle.event("output", fields);
            self.told = stored;
        }
    }

    /// Ends it: what may still be shown, and the account of the whole.
    pub fn close(mut self, bundle: &mut Bundle<'_>) -> (Vec<u8>, OutputRecord) {
        let clean = self.redactor.finish();
        self.store(bundle, &clean);
        self.tell(bundle);
        let (rest, stored) = self.capture.finish();
        if !rest.is_empty() {
            bundle.append(&self.file, &rest);
        }
        let record = OutputRecord {
            path: self.file,
            bytes: stored.bytes,
            sha256: stored.sha256,
            produced_bytes: self.produced,
            truncated: stored.omitted > 0,
            redactions: self.redactor.count(),
        };
        (clean, record)
    }
}
