//! Standard output: one JSON document or one text, written whole, and a reader that went away is no error.

use std::io::{self, Write};

use serde_json::json;

use crate::usecase::error::{Error, Result};

/// Version of the envelope; grows when a key changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The document around data, which is JSON text.
#[must_use]
pub fn envelope(data: &str) -> String {
    format!("{{\"schema_version\":{SCHEMA_VERSION},\"data\":{data}}}\n")
}

/// The document around an error; notices that came before it travel inside, so that standard error stays
/// one document.
#[must_use]
pub fn error_envelope(error: &Error, notices: &[String]) -> String {
    let mut body = json!({
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    });
    if !notices.is_empty() {
        body["notices"] = json!(notices);
    }
    format!("{}\n", json!({ "schema_version": SCHEMA_VERSION, "error": body }))
}

/// Writes text to standard output. A closed pipe is a reader that has seen enough, not a failure.
///
/// # Errors
/// When standard output cannot be written, a full disk for instance.
pub fn write(text: &str) -> Result<()> {
    write_to(&mut io::stdout().lock(), text)
}

fn write_to(out: &mut dyn Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("standard output could not be written: {error}");
            Err(Error::failure(message)
                .hint("whatever the command changes was changed before that; look with `orch show`"))
        }
        _ => Ok(()),
    }
}

/// Writes text to standard error, where nothing can be done about a failure.
pub fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::error::Kind;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn data_and_errors_have_their_own_envelopes() {
        assert_eq!(envelope("[1]"), "{\"schema_version\":1,\"data\":[1]}\n");
        let error = Error::new(Kind::Fenced, "fenced", "no longer yours").hint("stop");
        assert_eq!(
            error_envelope(&error, &[]),
            "{\"schema_version\":1,\"error\":{\"code\":\"fenced\",\"message\":\"no longer yours\",\
             \"hint\":\"stop\",\"retryable\":false}}\n"
        );
        assert!(error_envelope(&error, &["a notice".to_owned()]).contains("\"notices\":[\"a notice\"]"));
    }

    #[test]
    fn documents_are_one_line_whatever_the_text_holds() {
        let hostile = json!({"title": "a\nb\u{1b}[2J"});
        assert_eq!(envelope(&hostile.to_string()).matches('\n').count(), 1);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_but_a_full_disk_is() {
        assert_eq!(write_to(&mut Broken(io::ErrorKind::BrokenPipe), "x"), Ok(()));
        let full = write_to(&mut Broken(io::ErrorKind::StorageFull), "x");
        assert_eq!(full.map_err(|error| error.kind), Err(Kind::Failure));
    }
}
