//! Bare repositories and the ways to reach them.

use std::path::{Path, PathBuf};

use orch::world::program::install;

use super::env::TestEnv;
use super::http::{Fault, HttpServer};
use super::process::Running;
use super::proxy::Proxy;
use super::run::Run;
use super::server::Server;
use super::ssh;

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A path.
    Path,
    /// `file://`.
    File,
    /// `git://`, served by `git daemon`.
    Daemon,
    /// `http://`, served by `git http-backend`.
    Http,
    /// `http://` that asks for an `Authorization` header.
    HttpAuth,
    /// `ssh://`, served by an `sshd` with keys of its own.
    Ssh,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [Kind::Path, Kind::File, Kind::Daemon, Kind::Http, Kind::HttpAuth, Kind::Ssh];
}

/// What keeps a remote reachable.
enum Service {
    None,
    Tcp(Server),
    Http(HttpServer),
}

/// A bare repository that is served until this is dropped.
pub struct Remote {
    env: TestEnv,
    bare: PathBuf,
    url: String,
    service: Service,
    proxy: Option<Proxy>,
}

/// The secret of [`Kind::HttpAuth`].
pub const SECRET: &str = "Basic dGVzdGVyOmh1c2gtaHVzaA==";

impl Remote {
    pub(super) fn start(env: &TestEnv, kind: Kind) -> Option<Remote> {
        let bare = (0..).map(|n| env.path(format!("remotes/r{n}.git"))).find(|path| !path.exists())?;
        let name = bare.file_name().expect("it has a name").to_string_lossy().into_owned();
        let shown = bare.display().to_string();
        env.git(&env.path("remotes"), &["init", "--quiet", "--bare", &shown]).ok();
        let mut remote =
            Remote { env: env.clone(), bare, url: shown.clone(), service: Service::None, proxy: None };
        match kind {
            Kind::Path => {}
            Kind::File => remote.url = format!("file://{shown}"),
            Kind::Daemon => {
                let server = daemon(env);
                remote.url = format!("git://127.0.0.1:{}/{name}", server.port());
                remote.service = Service::Tcp(server);
            }
            Kind::Http | Kind::HttpAuth => {
                let auth = (kind == Kind::HttpAuth).then_some(SECRET);
                let server = HttpServer::start(env, auth);
                remote.url = format!("http://127.0.0.1:{}/{name}", server.port());
                if let Some(secret) = auth {
                    let base = format!("http://127.0.0.1:{}/", server.port());
                    env.git_config(&format!("[http \"{base}\"]\n\textraHeader = Authorization: {secret}\n"));
                }
                remote.service = Service::Http(server);
            }
            Kind::Ssh => match ssh::serve(env) {
                Ok(server) => {
                    remote.url = format!("ssh://127.0.0.1:{}{shown}", server.port());
                    remote.service = Service::Tcp(server);
                }
                Err(why) => {
                    eprintln!("skipped: no ssh remote: {why}");
                    assert!(std::env::var_os("CI").is_none(), "under CI every remote must be there: {why}");
                    return None;
                }
            },
        }
        Some(remote)
    }

    /// `git daemon` behind a proxy that can fail.
    pub fn proxied(env: &TestEnv) -> Remote {
        let mut remote = Remote::start(env, Kind::Daemon).expect("git brings its daemon along");
        let Service::Tcp(server) = &remote.service else { unreachable!("a daemon listens on TCP") };
        let proxy = Proxy::to(server.address());
        let name = remote.bare.file_name().expect("it has a name").to_string_lossy().into_owned();
        remote.url = format!("git://{}/{name}", proxy.address());
        remote.proxy = Some(proxy);
        remote
    }

    /// What `--remote` takes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of the bare repository.
    pub fn path(&self) -> &Path {
        &self.bare
    }

    /// The proxy in front of it.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("this remote was made by `proxied`")
    }

    /// What the next matching HTTP request meets.
    pub fn next_request(&self, fault: Fault) {
        let Service::Http(server) = &self.service else { panic!("this remote is not reached by HTTP") };
        server.next(fault);
    }

    /// How many faults have happened.
    pub fn faults(&self) -> usize {
        let Service::Http(server) = &self.service else { panic!("this remote is not reached by HTTP") };
        server.faults()
    }

    /// Runs git in the bare repository.
    pub fn git(&self, args: &[&str]) -> Run {
        self.env.git(&self.bare, args)
    }

    /// Starts git in the bare repository.
    pub fn start_git(&self, args: &[&str]) -> Running {
        let mut command = self.env.command(self.env.path("bin/git"));
        Running::start(command.current_dir(&self.bare).args(args))
    }

    /// Refs and what they hold, sorted by name.
    pub fn refs(&self) -> Vec<(String, String)> {
        let shown = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        let lines = shown.ok().stdout.lines();
        lines.filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    /// Names of the lease refs.
    pub fn lease_refs(&self) -> Vec<String> {
        let names = self.refs().into_iter().map(|(name, _)| name);
        let places = ["/orch/leases/", "/orch-leases/", "/orch/queues/", "/orch-queues/"];
        names.filter(|name| places.iter().any(|place| name.contains(place))).collect()
    }

    /// Makes it unreachable by taking the folder away; [`Remote::come_back`] undoes it.
    pub fn go_away(&self) {
        std::fs::rename(&self.bare, self.bare.with_extension("gone")).expect("it was there");
    }

    /// Undoes [`Remote::go_away`].
    pub fn come_back(&self) {
        std::fs::rename(self.bare.with_extension("gone"), &self.bare).expect("it had gone away");
    }

    /// Installs a hook.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.bare.join("hooks").join(name);
        install(&path, &format!("#!/bin/sh\n{script}\n")).expect("the folder is writable");
    }
}

fn daemon(env: &TestEnv) -> Server {
    let (world, root) = (env.clone(), env.path("remotes"));
    Server::inetd(move || {
        let mut command = world.command(world.path("bin/git"));
        command.args(["daemon", "--inetd", "--export-all", "--enable=receive-pack"]);
        command.arg(format!("--base-path={}", root.display())).arg(&root);
        command
    })
}
