//! How each machine reaches the remote: by path, or through a proxy of its own to an HTTP or SSH server.

use super::place::Place;
use super::profile::{Fleet, Way};
use super::proxy::{Proxy, Route};
use super::server::Server;
use super::{http, ssh};

/// One machine's way to the remote.
struct Link {
    way: Way,
    url: String,
    proxy: Option<Proxy>,
}

/// The ways of all machines, and the servers behind them.
pub struct Links {
    links: Vec<Link>,
    servers: Vec<Server>,
}

impl Links {
    /// Starts servers and proxies. `ports` are those of an earlier part of the run, to be had again because the
    /// machines know them; none for a new run.
    ///
    /// # Errors
    /// This computer cannot serve one of the ways, or a port is taken.
    pub fn start(place: &Place, fleet: &Fleet, ports: &[u16]) -> Result<Links, String> {
        let ways: Vec<Way> = (0..fleet.machines).map(|at| fleet.ways[at % fleet.ways.len()]).collect();
        let mut servers = Vec::new();
        let mut serve = |way: Way| -> Result<Option<std::net::SocketAddr>, String> {
            if !ways.contains(&way) {
                return Ok(None);
            }
            let server = match way {
                Way::Http => http::serve(place, 0)?,
                Way::Ssh => ssh::serve(place, 0)?,
                Way::Path => return Ok(None),
            };
            let address = server.address();
            servers.push(server);
            Ok(Some(address))
        };
        let (http, ssh) = (serve(Way::Http)?, serve(Way::Ssh)?);
        let bare = place.bare().display().to_string();
        let mut links = Vec::new();
        for (at, way) in ways.into_iter().enumerate() {
            let port = ports.get(at).copied().unwrap_or(0);
            let proxy = match (way, http, ssh) {
                (Way::Http, Some(target), _) | (Way::Ssh, _, Some(target)) => {
                    Some(Proxy::start(port, target)?)
                }
                _ => None,
            };
            let url = match (way, &proxy) {
                (Way::Http, Some(proxy)) => format!("http://{}/queue.git", proxy.address()),
                (Way::Ssh, Some(proxy)) => format!("ssh://{}{bare}", proxy.address()),
                _ => bare.clone(),
            };
            links.push(Link { way, url, proxy });
        }
        Ok(Links { links, servers })
    }

    /// What `orch init --remote` takes on a machine.
    #[must_use]
    pub fn url(&self, machine: usize) -> &str {
        &self.links[machine].url
    }

    /// The port of each machine's proxy, 0 for none.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let port = |link: &Link| link.proxy.as_ref().map_or(0, |proxy| proxy.address().port());
        self.links.iter().map(port).collect()
    }

    /// How many servers there are.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// The machines that have a proxy.
    #[must_use]
    pub fn with_socket(&self) -> Vec<usize> {
        (0..self.links.len()).filter(|at| self.links[*at].proxy.is_some()).collect()
    }

    /// Changes what passes between a machine and the remote.
    pub fn set(&self, machine: usize, route: Route) {
        if let Some(proxy) = &self.links[machine].proxy {
            proxy.set(route);
        }
    }

    /// How many answers to a machine were lost.
    #[must_use]
    pub fn lost(&self, machine: usize) -> u64 {
        self.links[machine].proxy.as_ref().map_or(0, Proxy::lost)
    }

    /// After how many bytes of requests on one connection an answer is that of a push: a question is shorter.
    #[must_use]
    pub fn long_request(&self, machine: usize) -> u64 {
        match self.links[machine].way {
            // The handshake of SSH and an empty question take 2.2 kilobytes, as `ssh -v` tells.
            Way::Ssh => 2_700,
            Way::Http | Way::Path => 700,
        }
    }
}
