//! A listener on a free loopback port that handles each connection in a thread of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::process::Running;

/// Stops listening when dropped. Connections that are still open are shut down.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves until dropped.
    pub fn start(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let connections = open.clone();
        Self::listen(open, move |stream| {
            let Ok(copy) = stream.try_clone() else { return };
            let address = copy.peer_addr().ok();
            connections.lock().expect("no holder panics").push(copy);
            handle(stream);
            // The copy would keep the connection open.
            connections.lock().expect("no holder panics").retain(|copy| {
                let other = copy.peer_addr().ok() != address;
                if !other {
                    drop(copy.shutdown(std::net::Shutdown::Both));
                }
                other
            });
        })
    }

    fn listen(
        open: Arc<Mutex<Vec<TcpStream>>>,
        handle: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopping, handle) = (stop.clone(), Arc::new(handle));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let handle = handle.clone();
                std::thread::spawn(move || handle(stream));
            }
        });
        Server { address, stop, open, accepting: Some(accepting) }
    }

    /// Hands each connection as standard input and output to a process, as inetd does.
    pub fn inetd(command: impl Fn() -> Command + Send + Sync + 'static) -> Server {
        let children: Mutex<Vec<Running>> = Mutex::new(Vec::new());
        Server::listen(Arc::default(), move |stream| {
            let Ok(copy) = stream.try_clone() else { return };
            let mut command = command();
            command.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::from(OwnedFd::from(copy)));
            command.stderr(Stdio::null());
            if let Ok(child) = command.spawn() {
                let mut children = children.lock().expect("no holder panics");
                children.retain_mut(|child| child.ended().is_none());
                children.push(Running::adopt(child));
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; a refused connection means that it has ended.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        for stream in self.open.lock().expect("no holder panics").drain(..) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }
}
