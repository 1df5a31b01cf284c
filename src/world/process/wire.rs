//! What worker and supervisor say to each other over a socket pair: one JSON document per line.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Exit, Signal};

/// From the worker to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Start this; `stdin_len` raw bytes follow the line.
    Start(Start),
    /// Signal the tree.
    Signal(Signal),
    /// Kill the tree at this time since boot.
    Fence { boottime_ms: u64 },
}

/// The program to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub program: PathBuf,
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    pub env: Vec<(String, String)>,
    pub stdin_len: usize,
    /// Process number of the worker, to tell its death from a stray signal.
    pub worker: u32,
    /// Kill the tree at this time since boot.
    pub fence_ms: Option<u64>,
}

/// From the supervisor to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs.
    Started { pid: u32 },
    /// It could not be started.
    Failed { errno: Option<i32>, message: String },
    /// Nothing of it is left.
    Ended(Exit),
}

/// What came in.
#[derive(Debug)]
pub(super) enum Received<T> {
    /// A message.
    Message(T),
    /// No whole message yet.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// One end of the socket pair.
#[derive(Debug)]
pub(super) struct Link {
    pub stream: UnixStream,
    buffer: Vec<u8>,
}

impl Link {
    /// Takes over a connected socket, in blocking mode, without a time limit.
    pub fn new(stream: UnixStream) -> Self {
        Link { stream, buffer: Vec::new() }
    }

    /// Limits how long each blocking read and write may take.
    pub fn limit(&self, span: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(span))?;
        self.stream.set_write_timeout(Some(span))
    }

    /// Sends one message.
    pub fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// The next message, if a whole one is there or, in blocking mode, when one is.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Received<T>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let message = serde_json::from_slice(&self.buffer[..end])?;
                self.buffer.drain(..=end);
                return Ok(Received::Message(message));
            }
            match self.fill() {
                Ok(0) => return Ok(Received::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Received::Closed),
                Err(error) => return Err(error),
            }
        }
    }

    /// Exactly `len` raw bytes that follow a message (blocking mode).
    pub fn receive_bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..len).collect())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0u8; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(len) => {
                    self.buffer.extend_from_slice(&chunk[..len]);
                    return Ok(len);
                }
            }
        }
    }
}
