//! A listener on loopback that handles each connection in a thread of its own, or by a process as inetd does.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Connections that are open, each by a number: a closed one no longer knows whose it was.
type Open = Arc<Mutex<Vec<(u64, TcpStream)>>>;

/// Stops listening when dropped. Connections that are still open are shut down.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Open,
    accepting: Option<JoinHandle<()>>,
}

/// Locks; a thread that panicked has left nothing half done in what is kept here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Serves on a port (0 is any) until dropped.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(port: u16, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Result<Server, String> {
        let open: Open = Arc::default();
        let connections = open.clone();
        let count = AtomicU64::new(0);
        Self::listen(port, open, move |stream| {
            let Ok(copy) = stream.try_clone() else { return };
            let number = count.fetch_add(1, Ordering::Relaxed);
            lock(&connections).push((number, copy));
            handle(stream);
            // The copy would keep the connection open.
            lock(&connections).retain(|(other, copy)| {
                if *other == number {
                    drop(copy.shutdown(Shutdown::Both));
                }
                *other != number
            });
        })
    }

    fn listen(
        port: u16,
        open: Open,
        handle: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Result<Server, String> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).map_err(|why| format!("127.0.0.1:{port}: {why}"))?;
        let address = listener.local_addr().map_err(|why| format!("127.0.0.1:{port}: {why}"))?;
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
        Ok(Server { address, stop, open, accepting: Some(accepting) })
    }

    /// Hands each connection as standard input and output to a process.
    ///
    /// # Errors
    /// The port is taken.
    pub fn inetd(port: u16, command: impl Fn() -> Command + Send + Sync + 'static) -> Result<Server, String> {
        let children = Mutex::new(Children::default());
        Server::listen(port, Arc::default(), move |stream| {
            let Ok(copy) = stream.try_clone() else { return };
            let mut command = command();
            command.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::from(OwnedFd::from(copy)));
            command.stderr(Stdio::null());
            if let Ok(child) = command.spawn() {
                lock(&children).adopt(child);
            }
        })
    }

    /// Shuts every open connection down.
    pub fn cut(&self) {
        for (_, stream) in lock(&self.open).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// How many connections are open.
    #[cfg(test)]
    pub fn open(&self) -> usize {
        lock(&self.open).len()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
        self.cut();
    }
}

/// Processes that serve connections; they are reaped as they end and killed when this is dropped.
#[derive(Default)]
struct Children(Vec<Child>);

impl Children {
    fn adopt(&mut self, child: Child) {
        self.0.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        self.0.push(child);
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only if it has been reaped already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first soak ended with 450 open files: a connection that both sides had closed was not taken off the list,
    /// because it was looked for by the address of its peer, which a closed one does not know any more.
    #[test]
    fn a_connection_that_has_ended_is_not_kept() {
        use std::io::Read;
        let server = Server::start(0, |stream| drop(stream.shutdown(Shutdown::Both))).unwrap();
        for _ in 0..20 {
            drop(TcpStream::connect(server.address()).unwrap().read(&mut [0; 1]));
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while server.open() > 0 {
            assert!(std::time::Instant::now() < deadline, "{} connections are kept", server.open());
            std::thread::yield_now();
        }
    }
}
