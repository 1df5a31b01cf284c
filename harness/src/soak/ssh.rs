//! An `sshd` with keys and configuration of its own, one process per connection, on loopback only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::place::{Place, find_program, output, write};
use super::server::Server;

/// The name under which every proxy in front of this server shows the same host key.
const HOST: &str = "orch-soak";

/// Serves ssh on a port (0 is any) and makes the place's git use it.
///
/// # Errors
/// Why this computer cannot.
pub fn serve(place: &Place, port: u16) -> Result<Server, String> {
    let sshd = find_program("sshd")
        .ok_or("no sshd; install openssh-server, or take `ssh` out of `fleet.ways` of the profile")?;
    for tool in ["ssh", "ssh-keygen"] {
        find_program(tool).ok_or_else(|| format!("no {tool}; install openssh-client"))?;
    }
    if rustix::process::geteuid().is_root() {
        // sshd insists on this folder when it runs as root.
        std::fs::create_dir_all("/run/sshd").map_err(|why| format!("/run/sshd: {why}"))?;
    }
    let dir = place.world("ssh");
    if !dir.exists() {
        std::fs::create_dir(&dir).map_err(|why| format!("{}: {why}", dir.display()))?;
        restrict(&dir, 0o700)?;
        for key in ["host", "client"] {
            let file = dir.join(key).display().to_string();
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", "soak", "-f", &file];
            output(place.command("ssh-keygen").args(args))?;
        }
        write(&dir.join("authorized"), &read(&dir.join("client.pub"))?)?;
        write(&dir.join("known"), &format!("{HOST} {}", read(&dir.join("host.pub"))?))?;
        write(&dir.join("sshd.conf"), &server_config(place))?;
        write(&dir.join("ssh.conf"), &client_config(&dir))?;
        let config = place.world("home/.gitconfig");
        let more = format!("[core]\n\tsshCommand = \"ssh -F \\\"{}\\\"\"\n", dir.join("ssh.conf").display());
        write(&config, &(read(&config)? + &more))?;
    }
    let (world, config) = (place.clone(), dir.join("sshd.conf"));
    let server = Server::inetd(port, move || {
        let mut command = world.command(&sshd);
        command.arg("-i").arg("-f").arg(&config);
        command
    })?;
    // Logs in once, so that a computer on which that is impossible is told before the run.
    login(place, &server, "git --version").map_err(|why| format!("the login failed: {why}"))?;
    Ok(server)
}

/// Runs a command by ssh and gives what it printed.
fn login(place: &Place, server: &Server, command: &str) -> Result<String, String> {
    let mut ssh = place.command("ssh");
    ssh.arg("-F").arg(place.world("ssh/ssh.conf")).args(["-p", &server.address().port().to_string()]);
    output(ssh.args(["127.0.0.1", command]))
}

/// As the hosts have it that people use: protocol 2 of git included. The home is the soak's own: bash reads the user's
/// `~/.bashrc` for each command that comes by ssh.
fn server_config(place: &Place) -> String {
    let (dir, home) = (place.world("ssh"), place.world("home"));
    let (dir, home) = (dir.display(), home.display());
    format!(
        "HostKey \"{dir}/host\"\nAuthorizedKeysFile \"{dir}/authorized\"\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\nPidFile none\n\
         AcceptEnv GIT_PROTOCOL\nSetEnv \"SOAK={dir}\" \"HOME={home}\"\n"
    )
}

fn client_config(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "IdentityFile \"{dir}/client\"\nIdentitiesOnly yes\nUserKnownHostsFile \"{dir}/known\"\nGlobalKnownHostsFile none\n\
         HostKeyAlias {HOST}\nStrictHostKeyChecking yes\nBatchMode yes\nKexAlgorithms curve25519-sha256\n\
         LogLevel ERROR\nUser {}\n",
        user()
    )
}

/// The name of the user that runs the soak.
fn user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = fields.find(|fields| fields.get(2) == Some(&uid.as_str()));
    entry.map_or_else(|| "root".to_owned(), |fields| fields[0].to_owned())
}

fn restrict(path: &Path, mode: u32) -> Result<(), String> {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).map_err(|why| format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bash reads `~/.bashrc` for each command that comes by ssh: with a slow one a soak measured that file, 0.2 s of the
    /// processor for each connection, and also at rest.
    #[test]
    fn what_comes_by_ssh_finds_the_home_of_the_soak_and_not_the_user_s() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().to_owned(), orch: "orch".into() };
        place.prepare().unwrap();
        let server = serve(&place, 0).unwrap();
        let home = login(&place, &server, "echo \"$HOME\"").unwrap();
        assert_eq!(Path::new(home.trim()), place.world("home"));
    }
}
