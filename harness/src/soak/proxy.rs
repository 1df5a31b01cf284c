//! A TCP proxy in front of the remote that can cut, swallow, slow down, and lose answers. Each machine with a socket
//! has its own, so that one can be cut off while others work.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::server::{Server, lock};

/// What happens to connections; a change applies to open ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Bytes pass both ways.
    Pass,
    /// Connections are closed at once.
    Cut,
    /// Connections are accepted and nothing passes.
    Hole,
    /// Each piece takes so long.
    Slow(Duration),
    /// Everything reaches the other side; an answer is cut off once so many bytes of requests have passed, which
    /// lets short questions through and meets pushes.
    LoseAnswer(u64),
}

/// The proxy; it ends when dropped.
pub struct Proxy {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    route: Mutex<Route>,
    lost: AtomicU64,
}

impl Proxy {
    /// A proxy on a port (0 is any) in front of a server.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(port: u16, target: SocketAddr) -> Result<Proxy, String> {
        let shared = Arc::new(Shared { route: Mutex::new(Route::Pass), lost: AtomicU64::new(0) });
        let mine = shared.clone();
        let server = Server::start(port, move |client| connect(client, target, &mine))?;
        Ok(Proxy { server, shared })
    }

    /// Changes what happens from now on.
    pub fn set(&self, route: Route) {
        *lock(&self.shared.route) = route;
        if route == Route::Cut {
            self.server.cut();
        }
    }

    /// How many answers were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

fn connect(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) {
    if *lock(&shared.route) == Route::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target) else { return };
    let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else { return };
    let asked = Arc::new(AtomicU64::new(0));
    let (theirs, counted) = (shared.clone(), asked.clone());
    let back = std::thread::spawn(move || pump(server2, client2, &theirs, &counted, true));
    pump(client, server, shared, &asked, false);
    drop(back.join());
}

/// Copies one direction, `answers` or requests; `asked` counts the bytes of requests.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, asked: &AtomicU64, answers: bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if !answers {
            asked.fetch_add(n as u64, Ordering::SeqCst);
        }
        let route = *lock(&shared.route);
        match route {
            // What was swallowed never arrives, also when the hole has closed: the connection is lost.
            Route::Hole => {
                wait_while(shared, Route::Hole);
                break;
            }
            Route::Cut => break,
            Route::LoseAnswer(from) if answers && asked.load(Ordering::SeqCst) >= from => {
                shared.lost.fetch_add(1, Ordering::SeqCst);
                break;
            }
            Route::Slow(span) => std::thread::sleep(span),
            Route::Pass | Route::LoseAnswer(_) => {}
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // The end of a request must not end the answer.
    drop(to.shutdown(if answers { Shutdown::Both } else { Shutdown::Write }));
    if answers {
        drop(from.shutdown(Shutdown::Both));
    }
}

fn wait_while(shared: &Shared, route: Route) {
    let start = Instant::now();
    while *lock(&shared.route) == route && start.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that reads until the end of the request, then answers with the number of bytes.
    fn counter() -> (Server, Arc<AtomicU64>) {
        let seen = Arc::new(AtomicU64::new(0));
        let counted = seen.clone();
        let server = Server::start(0, move |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            counted.fetch_add(all.len() as u64, Ordering::SeqCst);
            stream.write_all(format!("{}", all.len()).as_bytes()).unwrap();
        });
        (server.unwrap(), seen)
    }

    fn ask(proxy: &Proxy, bytes: usize) -> String {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut answer = String::new();
        if stream.write_all(&vec![b'x'; bytes]).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
            drop(stream.read_to_string(&mut answer));
        }
        answer
    }

    #[test]
    fn without_a_fault_everything_passes_and_with_one_it_bites() {
        let (server, seen) = counter();
        let proxy = Proxy::start(0, server.address()).unwrap();
        assert_eq!(ask(&proxy, 3000), "3000");
        proxy.set(Route::LoseAnswer(1000));
        assert_eq!(ask(&proxy, 10), "10", "a short question is answered");
        assert_eq!(ask(&proxy, 3000), "", "the answer is lost");
        assert_eq!((seen.load(Ordering::SeqCst), proxy.lost()), (6010, 1), "but what was sent arrived");
        proxy.set(Route::Cut);
        assert_eq!(ask(&proxy, 10), "");
        proxy.set(Route::Hole);
        assert_eq!(ask(&proxy, 10), "");
        assert_eq!(seen.load(Ordering::SeqCst), 6010, "neither arrived");
        proxy.set(Route::Pass);
        assert_eq!(ask(&proxy, 5), "5");
    }
}
