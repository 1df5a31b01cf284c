//! A small HTTP server that runs `git http-backend`, and what can go wrong between it and a client.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::env::TestEnv;
use super::process::until;
use super::server::Server;

/// What happens to one push (`POST …/git-receive-pack`), or to one request of any kind where said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The push is done; its answer is never sent.
    LoseAnswer,
    /// The push is not done, and nothing is answered.
    LoseRequest,
    /// The push is done after this time.
    Delay(Duration),
    /// The push is never answered; the connection stays open until the server ends.
    BlackHole,
    /// Any request is answered with this status.
    Status(u16),
}

/// The server; it ends when dropped.
pub struct HttpServer {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    env: TestEnv,
    auth: Option<&'static str>,
    faults: Mutex<VecDeque<Fault>>,
    happened: AtomicUsize,
    ended: std::sync::atomic::AtomicBool,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl HttpServer {
    /// Serves the bare repositories of a world.
    pub fn start(env: &TestEnv, auth: Option<&'static str>) -> HttpServer {
        let shared = Arc::new(Shared {
            env: env.clone(),
            auth,
            faults: Mutex::default(),
            happened: AtomicUsize::new(0),
            ended: false.into(),
        });
        let mine = shared.clone();
        // A client that goes away in the middle is an ordinary thing.
        let server = Server::start(move |stream| drop(serve(stream, &mine)));
        HttpServer { server, shared }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Appends to the faults that are to happen.
    pub fn next(&self, fault: Fault) {
        self.shared.faults.lock().expect("no holder panics").push_back(fault);
    }

    /// How many have happened.
    pub fn faults(&self) -> usize {
        self.shared.happened.load(Ordering::SeqCst)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    /// The fault that this request meets, if one waits for it.
    fn fault(&self, request: &Request) -> Option<Fault> {
        let push = request.method == "POST" && request.path.ends_with("/git-receive-pack");
        let mut faults = self.faults.lock().expect("no holder panics");
        let meets = matches!(faults.front(), Some(Fault::Status(_))) || (push && !faults.is_empty());
        let fault = if meets { faults.pop_front() } else { None };
        if fault.is_some() {
            self.happened.fetch_add(1, Ordering::SeqCst);
        }
        fault
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let request = read_request(&mut stream)?;
    let given = request.header("authorization");
    if shared.auth.is_some() && given != shared.auth {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\n";
        return stream.write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
    }
    match shared.fault(&request) {
        Some(Fault::LoseRequest) => Ok(()),
        Some(Fault::LoseAnswer) => backend(shared, &request).map(drop),
        Some(Fault::Status(code)) => {
            let text = format!("HTTP/1.1 {code} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(text.as_bytes())
        }
        Some(Fault::Delay(span)) => {
            // This is the fault itself, not a wait for something.
            std::thread::sleep(span);
            stream.write_all(&backend(shared, &request)?)
        }
        Some(Fault::BlackHole) => {
            until("the black hole closes", || {
                let gone = matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_));
                (gone || shared.ended.load(Ordering::SeqCst)).then_some(())
            });
            Ok(())
        }
        None => stream.write_all(&backend(shared, &request)?),
    }
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn read_request(stream: &mut TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding") == Some("chunked") {
        request.body = read_chunks(&mut reader)?;
    } else if let Some(length) = request.header("content-length").and_then(|text| text.parse().ok()) {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(request)
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Runs the backend and turns its answer into a response.
fn backend(shared: &Shared, request: &Request) -> std::io::Result<Vec<u8>> {
    let env = &shared.env;
    let mut command = env.command(env.path("bin/git"));
    command.arg("http-backend");
    command.env("GIT_PROJECT_ROOT", env.path("remotes")).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REMOTE_USER", "tester").env("REMOTE_ADDR", "127.0.0.1");
    command.env("REQUEST_METHOD", &request.method).env("PATH_INFO", &request.path);
    command.env("QUERY_STRING", &request.query).env("CONTENT_LENGTH", request.body.len().to_string());
    let passed = [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ];
    for (header, variable) in passed {
        if let Some(value) = request.header(header) {
            command.env(variable, value);
        }
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdin = child.stdin.take().ok_or_else(|| std::io::Error::other("no pipe"))?;
    let body = request.body.clone();
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output()?.stdout;
    drop(feeding.join());
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let content = output.get(split + 4..).unwrap_or_default();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let kept: String =
        head.lines().filter(|line| !line.starts_with("Status:")).map(|line| format!("{line}\r\n")).collect();
    let length = content.len();
    let mut response =
        format!("HTTP/1.1 {status}\r\n{kept}Content-Length: {length}\r\nConnection: close\r\n\r\n")
            .into_bytes();
    response.extend_from_slice(content);
    Ok(response)
}
