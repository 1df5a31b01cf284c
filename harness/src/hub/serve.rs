//! The two servers: every connection is handed to a process of git's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Way;

/// Dropping it ends it.
pub(super) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    ending: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves every repository in a directory; nothing is needed for a path.
    pub(super) fn start(way: Way, root: &Path) -> Option<Self> {
        let (scheme, answer): (_, fn(TcpStream, &Path)) = match way {
            Way::Path => return None,
            Way::Daemon => ("git", daemon),
            Way::Http => ("http", |stream, root| drop(http(&stream, root))),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let ending = Arc::new(AtomicBool::new(false));
        let (end, root): (_, PathBuf) = (Arc::clone(&ending), root.to_owned());
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let root = root.clone();
                if let Ok(stream) = stream {
                    std::thread::spawn(move || answer(stream, &root));
                }
            }
        });
        Some(Server { address, scheme, ending, listening: Some(listening) })
    }

    /// The URL of a repository.
    pub(super) fn url(&self, name: &str) -> String {
        format!("{}://{}/{name}", self.scheme, self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the one that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
    }
}

fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").stderr(Stdio::null());
    command
}

/// As `inetd` would start it.
fn daemon(stream: TcpStream, root: &Path) {
    let mut command = clean("git");
    command.args(["daemon", "--inetd", "--export-all", "--enable=receive-pack"]);
    command.arg(format!("--base-path={}", root.display())).arg(root);
    let Ok(input) = stream.try_clone() else { return };
    command.stdin(OwnedFd::from(input)).stdout(OwnedFd::from(stream));
    drop(command.status());
}

/// One request, one answer, as a web server with CGI would.
fn http(stream: &TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = clean("git");
    backend.arg("http-backend").envs([
        ("GIT_PROJECT_ROOT", root.as_os_str()),
        ("GIT_HTTP_EXPORT_ALL", "1".as_ref()),
        ("REQUEST_METHOD", method.as_ref()),
        ("PATH_INFO", path.as_ref()),
        ("QUERY_STRING", query.as_ref()),
    ]);
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((key, value)) = header.trim_end().split_once(": ") else { break };
        match key.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value == "chunked",
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let body = if chunked { chunks(&mut reader)? } else { exactly(&mut reader, length)? };
    backend.env("CONTENT_LENGTH", body.len().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = backend.spawn()?;
    let mut input = child.stdin.take();
    let writer = std::thread::spawn(move || input.as_mut().map(|pipe| pipe.write_all(&body)));
    let answer = child.wait_with_output()?.stdout;
    drop(writer.join());
    let head = String::from_utf8_lossy(&answer[..answer.len().min(4096)]).into_owned();
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut out = stream;
    out.write_all(&[b"HTTP/1.1 ", status.as_bytes(), b"\r\nConnection: close\r\n", &answer].concat())
}

fn exactly(reader: &mut impl Read, length: u64) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(body)
}

fn chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        body.extend(exactly(reader, length)?);
        reader.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(body);
        }
    }
}
