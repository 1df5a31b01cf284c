//! The text of `policy.yaml` that `orch init` writes.

/// The default policy: what the built-in checks leave open is allowed, except for these.
pub const DEFAULT: &str = r#"# Which commands an exec block may run. `orch check -- ARGV…` answers without running anything.
#
# Shells with commands in their arguments (sh -c), interpreters with code in theirs (python -c), and
# destructive commands outside the workspace are always refused, also behind wrappers such as env, xargs
# or find -exec; no rule lifts that. What is left is decided here. Every rule that matches is asked and the
# strictest answer counts: forbid, then prompt (a person has to agree; refused where nobody is there to
# ask), then allow. The first word of a prefix is the program; a list stands for alternatives.
# A machine's own policy (.git/orch/policy.yaml) can only tighten this one.
#
# A guard against mistakes, not a boundary: the boundary is the sandbox.
format: 1
default: allow
rules:
  - prefix: [[sudo, doas, su, pkexec, runuser]]
    decision: forbid
    reason: A task runs with the rights of its worker.
    instead: let a person prepare what needs other rights
    match: [[sudo, apt-get, update]]
    not_match: [[apt-get, update]]
  - prefix: [[shutdown, reboot, halt, poweroff, init, telinit]]
    decision: forbid
    reason: The machine is shared with other tasks.
    match: [[shutdown, -h, now]]
  - prefix: [[systemctl, launchctl, service], [start, stop, restart, reload, enable, disable, mask, kill, isolate]]
    decision: forbid
    reason: Services of the machine do not belong to a task.
    match: [[systemctl, stop, sshd]]
    not_match: [[systemctl, status, sshd]]
  - prefix: [[crontab, at, batch, systemd-run]]
    decision: forbid
    reason: What is started later, or by somebody else, outlives the attempt and escapes its limits.
    instead: add a task with --not-before
    match: [[crontab, -r], [at, noon]]
  - prefix: [[fdisk, sfdisk, cfdisk, gdisk, sgdisk, parted, losetup, mount, umount, swapoff, swapon]]
    decision: forbid
    reason: Disks do not belong to a task.
    match: [[parted, /dev/sda, print]]
  - prefix: [[killall, pkill, killall5]]
    decision: forbid
    reason: Ending processes by name hits those of other tasks.
    instead: end the process that was started here, by its number
    match: [[pkill, -f, node]]
  - prefix: [git, config, [--global, --system]]
    decision: forbid
    reason: The settings of the person and of the machine are not the task's.
    instead: git config without --global changes this repository only
    match: [[git, config, --global, user.name, x]]
    not_match: [[git, config, user.name, x]]
  - prefix: [[npm, pnpm, yarn, cargo, poetry, flit, hatch, uv, lerna], [publish, unpublish, yank]]
    decision: prompt
    reason: What is published cannot be taken back.
    instead: add a task for a person, with the version to be published
    match: [[cargo, publish], [npm, publish, --access, public]]
    not_match: [[cargo, package]]
  - prefix: [twine, upload]
    decision: prompt
    reason: What is published cannot be taken back.
    match: [[twine, upload, dist/x.whl]]
  - prefix: [gem, [push, yank]]
    decision: prompt
    reason: What is published cannot be taken back.
    match: [[gem, push, x.gem]]
  - prefix: [[docker, podman, nerdctl], push]
    decision: prompt
    reason: What is published cannot be taken back.
    match: [[docker, push, example/image]]
  - prefix: [[docker, podman, nerdctl], [system, volume, image, container, network, builder], [prune, rm]]
    decision: forbid
    reason: It removes what other tasks and people keep.
    match: [[docker, system, prune, -a]]
    not_match: [[docker, image, ls]]
  - prefix: [gh, repo, [delete, archive, rename]]
    decision: forbid
    reason: The repository belongs to its owners.
    match: [[gh, repo, delete, x]]
    not_match: [[gh, repo, view]]
  - prefix: [gh, [release, secret, ssh-key, gpg-key], [create, delete, set, add]]
    decision: prompt
    reason: It changes what others rely on.
    match: [[gh, release, create, v1]]
  - prefix: [[kubectl, oc], [delete, drain, cordon, apply, replace, scale, patch]]
    decision: prompt
    reason: It changes a running system.
    match: [[kubectl, delete, pod, x]]
    not_match: [[kubectl, get, pods]]
  - prefix: [[terraform, tofu, pulumi], [apply, destroy, up, import]]
    decision: prompt
    reason: It changes a running system.
    match: [[terraform, destroy]]
    not_match: [[terraform, plan]]
"#;
