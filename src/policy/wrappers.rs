//! The known programs that start another command, as data: where that command begins and what happens to it.

use super::options::Spec;
use super::program::among;

/// What a wrapper does if no command follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    /// Nothing that matters.
    Fine,
    /// It starts a shell.
    Shell,
}

/// How one wrapper is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrapper {
    /// Names, separated by blanks.
    pub names: &'static str,
    /// Words that must come first, like `exec` of `docker exec`; alternatives separated by blanks, empty for none.
    pub sub: &'static str,
    /// Options that take a value. They end at the first operand.
    pub options: Spec,
    /// Operands before the command.
    pub skip: usize,
    /// Whether `NAME=value` may stand before the command.
    pub assigns: bool,
    /// Options whose value is text for a shell: letters, then names.
    pub text: (&'static str, &'static str),
    /// Options that start a shell: letters, then names.
    pub shell: (&'static str, &'static str),
    /// Options that name the directory of the command: letters, then names.
    pub dir: (&'static str, &'static str),
    /// Whether the words of the command are joined and handed to a shell.
    pub joined: bool,
    /// Whether the command runs on another machine, in a container, or in another root.
    pub elsewhere: bool,
    /// Whether arguments are appended that cannot be seen.
    pub appends: bool,
    /// Whether it fetches what it runs, so that a person is asked.
    pub fetches: bool,
    /// Whether options may also stand behind the operands that come before the command.
    pub permutes: bool,
    /// Without a command.
    pub bare: Bare,
    /// Whether the default of a policy is about the inner command only.
    pub transparent: bool,
}

const fn row(names: &'static str, short: &'static str, long: &'static str) -> Wrapper {
    Wrapper {
        names,
        sub: "",
        options: Spec::new(short, long),
        skip: 0,
        assigns: false,
        text: ("", ""),
        shell: ("", ""),
        dir: ("", ""),
        joined: false,
        elsewhere: false,
        appends: false,
        fetches: false,
        permutes: false,
        bare: Bare::Fine,
        transparent: true,
    }
}

impl Wrapper {
    const fn sub(self, sub: &'static str) -> Self {
        Wrapper { sub, transparent: false, ..self }
    }
    const fn skip(self, skip: usize) -> Self {
        Wrapper { skip, ..self }
    }
    const fn assigns(self) -> Self {
        Wrapper { assigns: true, ..self }
    }
    const fn text(self, letters: &'static str, names: &'static str) -> Self {
        Wrapper { text: (letters, names), ..self }
    }
    const fn shell(self, letters: &'static str, names: &'static str) -> Self {
        Wrapper { shell: (letters, names), ..self }
    }
    const fn dir(self, letters: &'static str, names: &'static str) -> Self {
        Wrapper { dir: (letters, names), ..self }
    }
    const fn joined(self) -> Self {
        Wrapper { joined: true, ..self }
    }
    const fn elsewhere(self) -> Self {
        Wrapper { elsewhere: true, transparent: false, ..self }
    }
    const fn appends(self) -> Self {
        Wrapper { appends: true, ..self }
    }
    const fn fetches(self) -> Self {
        Wrapper { fetches: true, transparent: false, ..self }
    }
    const fn permutes(self) -> Self {
        Wrapper { permutes: true, ..self }
    }
    const fn bare_shell(self) -> Self {
        Wrapper { bare: Bare::Shell, ..self }
    }
    const fn opaque(self) -> Self {
        Wrapper { transparent: false, ..self }
    }
    /// The lists name the options without a value.
    const fn flags_only(self) -> Self {
        Wrapper { options: Spec { inverse: true, ..self.options }, ..self }
    }
}

/// The wrappers; more than one row may be about a name (`docker run`, `docker compose run`).
pub(super) const WRAPPERS: &[Wrapper] = &[
    // Surroundings of one process.
    row("env genv", "uCS", "unset chdir split-string argv0 default-signal ignore-signal block-signal")
        .assigns().dir("C", "chdir"),
    row("nohup gnohup setsid unbuffer fakeroot catchsegv ccache sccache distcc icecc eatmydata tini dumb-init", "pe", ""),
    row("command builtin exec noglob nocorrect coproc", "a", ""),
    row("nice gnice", "n", "adjustment"),
    row("ionice", "cnpPu", "class classdata pid pgid uid"),
    row("timeout gtimeout", "ks", "kill-after signal").skip(1),
    row("stdbuf gstdbuf", "ioe", "input output error"),
    row("time gtime", "fo", "format output"),
    row("chronic ts ifne mispipe", "", ""),
    row("taskset", "", "").skip(1),
    row("chrt", "TPD", "sched-runtime sched-period sched-deadline").skip(1),
    row("numactl", "iNCmlpw", "interleave cpunodebind physcpubind membind preferred weighted-interleave"),
    row("prlimit setarch linux32 linux64 i386 x86_64", "o", ""),
    row("softlimit chpst", "acdfmoprstlueUn/b", ""),
    row("strace ltrace", "aeEIOopPsSuUXbDlnwFA", "output trace string-limit env user attach columns inject")
        .dir("", ""),
    row("valgrind rr perf-trace proxychains proxychains4 torsocks torify tsocks", "f", ""),
    row("rlwrap", "acCDbfFgHlmMnpPqsStwz", ""),
    row("xvfb-run", "enfps", "server-num auth-file error-file xauth-protocol server-args"),
    row("dbus-run-session", "", "config-file dbus-daemon"),
    row("dbus-launch", "", ""),
    row("firejail", "", "").opaque(),
    row("cgexec", "g", ""),
    row("systemd-inhibit", "", "what who why mode"),
    row("caffeinate", "tw", ""),
    row("arch", "", "").assigns(),
    row("cross-env cross-env-shell env-cmd", "feRr", "file environments").assigns(),
    row("dotenv", "efv", "").assigns(),
    row("xargs gxargs", "adEIinLPsR", "arg-file delimiter max-lines max-args max-chars max-procs process-slot-var replace")
        .appends(),
    row("entr", "s", "").appends(),
    row("watch", "ndqe", "interval equexit").joined().opaque(),
    row("flock", "wE", "timeout wait conflict-exit-code").skip(1).text("c", "command"),
    row("script", "cEIoBOTtm", "command echo log-in log-out log-io log-timing logging-format output-limit")
        .skip(1).text("c", "command").bare_shell(),
    row("hyperfine", "wrmMsSpcPDLnNiu", "warmup runs min-runs max-runs shell prepare setup cleanup conclude parameter-list")
        .text("psc", "prepare setup cleanup conclude").opaque(),
    row("start-stop-daemon daemonize daemon", "naxpusgdrNIPkmRc", "exec startas pidfile user chdir name")
        .text("xa", "exec startas").opaque(),
    // Other rights.
    row("sudo", "CDghpRrtTUu", "close-from chdir group host prompt chroot role type command-timeout other-user user")
        .assigns().shell("si", "shell login").dir("DR", "chdir chroot").opaque(),
    row("doas", "uCa", "").shell("s", "").opaque(),
    row("pkexec", "", "user").bare_shell().opaque(),
    row("runuser", "ucgGs", "user command group supp-group shell").text("c", "command").bare_shell().opaque(),
    row("gosu su-exec setuidgid", "", "").skip(1).opaque(),
    row("setpriv", "", "ambient-caps inh-caps bounding-set ruid euid rgid egid reuid regid groups securebits pdeathsig \
                        selinux-label apparmor-profile reset-env").opaque(),
    row("runcon", "turl", "type user role range").skip(1).opaque(),
    row("sg newgrp", "", "").skip(1).text("c", "command").bare_shell().opaque(),
    row("systemd-run", "puEMHtS", "unit property description slice uid gid nice working-directory setenv machine host \
                        service-type on-active on-boot on-calendar timer-property path-property socket-property")
        .shell("S", "shell").dir("", "working-directory").bare_shell().opaque(),
    // Other roots and machines.
    row("chroot gchroot", "", "userspec groups").skip(1).bare_shell().elsewhere(),
    row("unshare", "SGRw", "map-user map-group map-users map-groups setuid setgid root wd propagation setgroups")
        .dir("Rw", "root wd").bare_shell().opaque(),
    row("nsenter", "tSGW", "target setuid setgid wdns").bare_shell().elsewhere(),
    row("bwrap", "", "").elsewhere(),
    row("proot", "rbqwkm", "rootfs bind cwd kernel-release").bare_shell().elsewhere(),
    row("systemd-nspawn", "DMupbUES", "directory machine user property setenv bind image").bare_shell().elsewhere(),
    row("ssh dbclient autossh", "BbcDEeFIiJLlmOoPpQRSWw", "").skip(1).permutes().joined().bare_shell().elsewhere(),
    row("mosh", "p", "ssh port predict server client").skip(1).bare_shell().elsewhere(),
    row("rsh rlogin", "lp", "").skip(1).joined().bare_shell().elsewhere(),
    row("docker podman nerdctl", DOCKER_RUN.0, DOCKER_RUN.1).flags_only().sub("run create").skip(1).elsewhere(),
    row("docker podman nerdctl", "dit", "detach interactive tty privileged latest").flags_only()
        .sub("exec").skip(1).elsewhere(),
    row("docker-compose", DOCKER_RUN.0, DOCKER_RUN.1).flags_only().sub("run exec").skip(1).elsewhere(),
    row("kubectl oc k3s-kubectl", "cnf", "container namespace context kubeconfig cluster user filename pod-running-timeout \
                        image overrides labels env port restart as server").sub("exec run debug").skip(1).permutes().elsewhere(),
    row("machinectl", "MHup", "machine host uid setenv").sub("shell").skip(1).bare_shell().elsewhere(),
    row("lxc incus", "", "cwd env user group mode").sub("exec").skip(1).elsewhere(),
    row("vagrant", "c", "command").sub("ssh").text("c", "command").bare_shell().elsewhere(),
    row("flatpak", "", "command branch arch").sub("run").skip(1).elsewhere(),
    // Tools that run a command in an environment which they prepare.
    row("direnv", "", "").sub("exec").skip(1),
    row("mise asdf", "jC", "jobs cd").sub("exec x").text("c", "command").dir("C", "cd"),
    row("rustup", "", "").sub("run").skip(1),
    row("poetry pipenv pdm hatch rye", "CPepe", "directory project").sub("run"),
    row("uv", "pw", "python with with-editable with-requirements extra group package project directory env-file index \
                        index-url").sub("run"),
    row("bundle", "", "gemfile").sub("exec"),
    row("conda mamba micromamba", "np", "name prefix cwd").sub("run"),
    row("nix-shell", "pIA", "packages attr run command arg argstr").text("", "run command").bare_shell().opaque(),
    row("nix", "cf", "file arg argstr").sub("shell develop").text("c", "command").bare_shell(),
    row("op aws-vault doppler infisical chamber vault-env", "", "env-file project config").sub("run exec"),
    // Runners that fetch what they run.
    row("npx bunx pnpx", "pcw", "package call workspace").text("c", "call").fetches(),
    row("npm", "pcw", "package call workspace").sub("exec x").text("c", "call").fetches(),
    row("pnpm yarn bun", "pc", "package").sub("dlx x").text("c", "").fetches(),
    row("uvx", "pw", "from with python with-editable with-requirements index index-url").fetches(),
    row("uv", "pw", "from with python index index-url").sub("tool").skip(1).fetches(),
    row("pipx", "", "spec python pip-args index-url").sub("run").fetches(),
    row("nix", "", "").sub("run").skip(1).fetches(),
];

/// `docker run` has far more options with a value than without.
const DOCKER_RUN: (&str, &str) = (
    "ditPqT",
    "detach interactive tty rm init privileged read-only publish-all no-healthcheck oom-kill-disable quiet help sig-proxy \
     disable-content-trust no-deps service-ports use-aliases build replace no-hosts tls-verify",
);

/// The rows about a program.
pub(super) fn about(name: &str) -> impl Iterator<Item = &'static Wrapper> {
    WRAPPERS.iter().filter(move |wrapper| among(name, wrapper.names))
}
