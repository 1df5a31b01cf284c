//! A TCP proxy that can refuse, hold and cut connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::server::Server;

/// What happens to connections; a change applies to open ones too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Bytes pass both ways.
    Pass,
    /// Connections are closed at once.
    Drop,
    /// Connections are accepted and nothing passes: a black hole.
    Hold,
    /// Everything reaches the other side; the answer is cut where this text begins.
    CutAnswerAt(Vec<u8>),
}

/// The proxy; it ends when dropped.
pub struct Proxy {
    server: Server,
    route: Arc<Mutex<Route>>,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// A proxy in front of a server.
    pub fn to(target: SocketAddr) -> Proxy {
        let route = Arc::new(Mutex::new(Route::Pass));
        let cuts = Arc::new(AtomicUsize::new(0));
        let (routes, counted) = (route.clone(), cuts.clone());
        let server = Server::start(move |client| connect(client, target, &routes, &counted));
        Proxy { server, route, cuts }
    }

    /// Changes what happens from now on.
    pub fn set(&self, route: Route) {
        *self.route.lock().expect("no holder panics") = route;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many answers were cut so far.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn connect(client: TcpStream, target: SocketAddr, route: &Arc<Mutex<Route>>, cuts: &Arc<AtomicUsize>) {
    if *route.lock().expect("no holder panics") == Route::Drop {
        return;
    }
    let Ok(server) = TcpStream::connect(target) else { return };
    let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else { return };
    let (routes, counted) = (route.clone(), cuts.clone());
    let back = std::thread::spawn(move || pump(server2, client2, &routes, Some(&counted)));
    pump(client, server, route, None);
    drop(back.join());
}

/// Copies one direction; `cuts` is given for the direction of the answer.
fn pump(mut from: TcpStream, mut to: TcpStream, route: &Mutex<Route>, cuts: Option<&AtomicUsize>) {
    let mut buffer = [0; 16 * 1024];
    let mut tail = Vec::new();
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let now = route.lock().expect("no holder panics").clone();
        match (now, cuts) {
            (Route::Hold, _) => continue,
            (Route::Drop, _) => break,
            (Route::CutAnswerAt(text), Some(cuts)) => {
                tail.extend_from_slice(&buffer[..n]);
                if tail.windows(text.len()).any(|window| window == text) {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                tail.drain(..tail.len().saturating_sub(text.len()));
            }
            _ => {}
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
