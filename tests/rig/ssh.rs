//! An `sshd` with keys and configuration of its own, one process per connection.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::env::TestEnv;
use super::run::Run;
use super::server::Server;

/// Serves ssh on a free port and makes the world's git use it.
///
/// # Errors
/// Why this computer cannot.
pub fn serve(env: &TestEnv) -> Result<Server, String> {
    let sshd = find("sshd").ok_or("no sshd; install openssh-server")?;
    for tool in ["ssh", "ssh-keygen"] {
        find(tool).ok_or_else(|| format!("no {tool}; install openssh-client"))?;
    }
    let root = rustix::process::geteuid().is_root();
    if root {
        // sshd insists on this folder when it runs as root.
        std::fs::create_dir_all("/run/sshd").map_err(|why| format!("/run/sshd: {why}"))?;
    }
    let dir = env.path("ssh");
    if !dir.exists() {
        std::fs::create_dir(&dir).map_err(|why| format!("{}: {why}", dir.display()))?;
        restrict(&dir, 0o700)?;
        for key in ["host", "client"] {
            let file = dir.join(key).display().to_string();
            let mut command = env.command(find("ssh-keygen").ok_or("no ssh-keygen")?);
            Run::of(command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &file])).ok();
        }
        let public = read(&dir.join("client.pub"))?;
        // Keys come with the environment that the forced command of a real host would set.
        write(&dir.join("authorized"), &public)?;
    }
    write(&dir.join("sshd.conf"), &server_config(&dir, &env.path("home")))?;
    let config = dir.join("sshd.conf");
    let world = env.clone();
    let server = Server::inetd(move || {
        let mut command = world.command(&sshd);
        command.arg("-i").arg("-f").arg(&config);
        command
    });
    let host_key = read(&dir.join("host.pub"))?;
    write(&dir.join("known"), &format!("[127.0.0.1]:{} {host_key}", server.port()))?;
    write(&dir.join("ssh.conf"), &client_config(&dir))?;
    env.git_config(&format!("[core]\n\tsshCommand = ssh -F {}\n", dir.join("ssh.conf").display()));
    probe(env, &dir, server.port())?;
    Ok(server)
}

/// Logs in once, so that a computer on which that is impossible is told from a failing test.
fn probe(env: &TestEnv, dir: &Path, port: u16) -> Result<(), String> {
    let ssh = find("ssh").ok_or("no ssh")?;
    let mut command = env.command(ssh);
    let asked = "git --version && echo \"$HOME\"";
    command.arg("-F").arg(dir.join("ssh.conf")).args(["-p", &port.to_string(), "127.0.0.1", asked]);
    let run = Run::of(&mut command);
    if run.code != 0 {
        return Err(format!("the login failed: {}", run.stderr.trim()));
    }
    let home = env.path("home");
    assert!(run.stdout.ends_with(&format!("\n{}\n", home.display())), "not the test's home: {}", run.stdout);
    Ok(())
}

/// The home is the test's own: bash reads the user's `~/.bashrc` for each command that comes by ssh.
fn server_config(dir: &Path, home: &Path) -> String {
    let (dir, home) = (dir.display(), home.display());
    format!(
        "HostKey {dir}/host\nAuthorizedKeysFile {dir}/authorized\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\nPidFile none\n\
         SetEnv \"HOME={home}\"\n"
    )
}

fn client_config(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "IdentityFile {dir}/client\nIdentitiesOnly yes\nUserKnownHostsFile {dir}/known\nGlobalKnownHostsFile none\n\
         StrictHostKeyChecking yes\nBatchMode yes\nKexAlgorithms curve25519-sha256\nLogLevel ERROR\nUser {}\n",
        user()
    )
}

/// The name of the user that runs the tests.
fn user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = fields.find(|fields| fields.get(2) == Some(&uid.as_str()));
    entry.map_or_else(|| "root".to_owned(), |fields| fields[0].to_owned())
}

fn find(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .into_iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

fn restrict(path: &Path, mode: u32) -> Result<(), String> {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).map_err(|why| format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
}
