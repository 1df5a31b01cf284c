//! A small HTTP server that runs `git http-backend` for each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use super::place::Place;
use super::server::Server;

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Serves the repositories of a place on a port (0 is any).
///
/// # Errors
/// The port is taken.
pub fn serve(place: &Place, port: u16) -> Result<Server, String> {
    let place = place.clone();
    // A client that goes away in the middle is an ordinary thing.
    Server::start(port, move |stream| drop(answer(stream, &place)))
}

fn answer(mut stream: TcpStream, place: &Place) -> std::io::Result<()> {
    let request = read_request(&mut stream)?;
    let response = backend(place, &request)?;
    stream.write_all(&response)
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
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut request = Request { method, path, query, headers: Vec::new(), body: Vec::new() };
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
fn backend(place: &Place, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut command = place.command("git");
    command.arg("http-backend");
    command.env("GIT_PROJECT_ROOT", place.world("remotes")).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REMOTE_USER", "soak").env("REMOTE_ADDR", "127.0.0.1");
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
    let mut response = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for line in head.lines().filter(|line| !line.starts_with("Status:")) {
        response.extend_from_slice(line.as_bytes());
        response.extend_from_slice(b"\r\n");
    }
    let rest = format!("Content-Length: {}\r\nConnection: close\r\n\r\n", content.len());
    response.extend_from_slice(rest.as_bytes());
    response.extend_from_slice(content);
    Ok(response)
}
