//! What a simulated program does: drawn from dice, as agents are, or told by the arguments of the program itself, as
//! statements about processes need it.

use std::collections::VecDeque;
use std::io;

use orch::world::process::{Command, Stream};

use super::dice::Dice;
use super::kernel::Micros;
use super::tree::{FOR_EVER, Manners};

/// Bytes that arrive at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;
/// How long a program that is told what to do takes for all of it.
const BRIEF: Micros = 2_000;

/// Something that a program writes.
pub(super) struct Said {
    /// When.
    pub at: Micros,
    /// Where.
    pub stream: Stream,
    /// What.
    pub bytes: Vec<u8>,
}

/// From the start of a program to its end.
pub(super) struct Script {
    /// How long the program itself works.
    pub long: Micros,
    /// What it writes, in this order.
    pub outputs: VecDeque<Said>,
    /// Code with which it ends, if it ends so.
    pub code: Option<i32>,
    /// Signal that ends it.
    pub signal: Option<i32>,
    /// It does not hear `SIGTERM`, and neither do those whom it leaves behind.
    pub stubborn: bool,
    /// How many processes it leaves behind.
    pub left: u32,
}

impl Script {
    /// One of the ways of agents; `None` if it cannot be started.
    pub fn drawn(manners: &Manners, dice: &mut Dice, from: Micros) -> Option<Script> {
        let Manners { mean, most, fails, hangs, stubborn, missing } = *manners;
        if dice.chance(missing) {
            return None;
        }
        let long =
            if dice.chance(hangs) { FOR_EVER } else { dice.exponential(mean as f64) as Micros }.min(most);
        let mut outputs: Vec<Said> = (0..dice.below(4))
            .map(|_| Said {
                at: from + dice.below(long.max(1)),
                stream: *dice.pick(&[Stream::Stdout, Stream::Stderr]),
                bytes: b"a line\n".to_vec(),
            })
            .collect();
        outputs.sort_by_key(|said| said.at);
        let code = Some(i32::from(dice.chance(fails)));
        let stubborn = dice.chance(stubborn);
        Some(Script { long, outputs: outputs.into(), code, signal: None, stubborn, left: 0 })
    }

    /// What the arguments after the first say, one each, and in this order: `out=TEXT` and `err=TEXT` are written,
    /// `zeros=COUNT` are too, `copy` gives the input back, `show=NAME` a variable and `where` the directory; `deaf`
    /// does not hear `SIGTERM`, `leave` leaves a process behind, `wait` never ends; `exit=CODE` and `die=SIGNAL` end.
    ///
    /// # Errors
    /// An argument that is none of these.
    pub fn told(command: &Command, from: Micros) -> io::Result<Script> {
        let mut script = Script {
            long: BRIEF,
            outputs: VecDeque::new(),
            code: Some(0),
            signal: None,
            stubborn: false,
            left: 0,
        };
        let at = from + BRIEF / 2;
        for word in command.argv.iter().skip(1) {
            let (verb, what) = word.split_once('=').unwrap_or((word, ""));
            let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("a script says {word:?}"));
            let number = || what.parse::<i32>().map_err(|_| bad());
            match verb {
                "out" => script.says(at, Stream::Stdout, what.as_bytes()),
                "err" => script.says(at, Stream::Stderr, what.as_bytes()),
                "zeros" => {
                    let count = usize::try_from(number()?).map_err(|_| bad())?;
                    script.says(at, Stream::Stdout, &vec![0; count]);
                }
                "copy" => script.says(at, Stream::Stdout, &command.stdin),
                "show" => {
                    let value = command.env.iter().find(|(name, _)| name == what);
                    script.says(at, Stream::Stdout, value.map_or("", |(_, value)| value).as_bytes());
                }
                "where" => script.says(at, Stream::Stdout, command.cwd.to_string_lossy().as_bytes()),
                "deaf" => script.stubborn = true,
                "leave" => script.left += 1,
                "wait" => script.long = FOR_EVER,
                "exit" => (script.code, script.signal) = (Some(number()?), None),
                "die" => (script.code, script.signal) = (None, Some(number()?)),
                _ => return Err(bad()),
            }
        }
        Ok(script)
    }

    fn says(&mut self, at: Micros, stream: Stream, bytes: &[u8]) {
        let chunks = bytes.chunks(CHUNK).map(|chunk| Said { at, stream, bytes: chunk.to_vec() });
        self.outputs.extend(chunks);
    }
}
