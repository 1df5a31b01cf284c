//! Task files: no bytes make the reader panic, what is accepted is within its bounds, and writing it and reading
//! it again gives the same task, as a file and as a line of JSON.

use orch::protocol::task::Task;
use orch::store::codec::{self, Decoded, Problem, ProblemKind};
use orch::store::seal::Seal;
use orch::store::wire::bounds;

/// Holds for any bytes.
pub fn holds(bytes: &[u8]) {
    let _ = read(bytes);
    let _ = codec::peek(bytes);
    if let Err(problem) = codec::decode_definition(bytes) {
        crate::assert_place(bytes, problem.line, problem.column, &problem.message);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        two_readers_agree(&crate::sealed(text));
    }
}

/// What orch wrote itself is read by a quicker reader of its own; a blank behind the seal sends the same text to
/// the one for what people wrote.
fn two_readers_agree(whole: &str) {
    let quick = read(whole.as_bytes());
    if whole.len() == codec::FILE_MAX {
        return;
    }
    let edited = format!("{whole} ");
    match (quick, read(edited.as_bytes())) {
        (Ok(quick), Ok(slow)) => {
            assert_eq!((quick.seal, slow.seal), (Seal::Valid, Seal::Broken));
            assert_eq!(quick.task, slow.task, "the two readers see different tasks");
        }
        // Under a valid seal an unknown operation is a newer one, not somebody's mistake.
        (Err(quick), Err(slow)) => {
            let same = quick.kind == slow.kind || quick.kind == ProblemKind::NewerFormat;
            assert!(same, "{quick} ({:?}) or {slow} ({:?})", quick.kind, slow.kind);
        }
        (quick, slow) => panic!("one reader accepts what the other refuses: {quick:?} and {slow:?}"),
    }
}

fn read(bytes: &[u8]) -> Result<Decoded, Problem> {
    let read = codec::decode(bytes);
    match &read {
        Ok(decoded) => {
            within_bounds(&decoded.task);
            survives(&decoded.task);
        }
        Err(problem) => crate::assert_place(bytes, problem.line, problem.column, &problem.message),
    }
    read
}

fn within_bounds(task: &Task) {
    assert_eq!(bounds::check_definition(task.def()), Ok(()));
    assert!(task.history().len() <= bounds::HISTORY_MAX);
    for op in task.history() {
        assert_eq!(bounds::check_op(op), Ok(()));
    }
    assert_eq!(task.lease().map_or(Ok(()), bounds::check_lease), Ok(()));
    assert!(task.epoch() < bounds::COUNT_END);
}

/// Written and read again, a task is the same, and so are its bytes.
pub(crate) fn survives(task: &Task) {
    let line = codec::task_to_json_line(task);
    assert!(!line.contains('\n'));
    assert_eq!(codec::task_from_json_line(&line).as_ref(), Ok(task), "{line}");
    let bytes = codec::encode(task);
    if !codec::fits(&bytes) {
        return;
    }
    match codec::decode(&bytes) {
        Ok(again) => {
            assert_eq!((again.seal, &again.task), (Seal::Valid, task));
            assert_eq!(codec::encode(&again.task), bytes, "equal tasks are equal bytes");
        }
        Err(problem) => panic!("{problem}\n{}", String::from_utf8_lossy(&bytes)),
    }
}
