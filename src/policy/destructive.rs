//! Commands that destroy: allowed only if every path they name lies below the workspace and is not protected.

use super::command::{Command, Findings};
use super::ground::Ground;
use super::options::{self, Spec};
use super::program::among;

const INSTEAD: &str = "name paths below the workspace, one by one";

pub(super) fn inspect(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    let name = name.strip_prefix('g').filter(|rest| among(rest, GNU)).unwrap_or(name);
    let Some(named) = destroyed(name, command.args()) else { return };
    if !command.complete {
        out.forbid(
            "destructive",
            format!("`{name}` destroys, and it gets paths that cannot be seen here"),
            INSTEAD,
        );
    }
    for path in named {
        if let Err(why) = ground.may_destroy(command.dir.as_deref(), path) {
            out.forbid("destructive", format!("`{name}` destroys, and {why}"), INSTEAD);
        }
    }
}

/// What is called `grm`, `gdd`, … where the system has tools of its own.
const GNU: &str = "rm rmdir unlink shred truncate dd mv chmod chown chgrp";

/// The paths that would be destroyed; `None` if this is no destructive command.
fn destroyed<'a>(name: &str, args: &'a [String]) -> Option<Vec<&'a str>> {
    match name {
        "rm" | "rmdir" | "unlink" | "srm" | "rimraf" | "del-cli" | "trash" | "del" | "erase" | "rd" => {
            Some(operands(args, &Spec::default()))
        }
        "shred" => Some(operands(args, &Spec::new("ns", "iterations size random-source"))),
        "truncate" => Some(operands(args, &Spec::new("sr", "size reference"))),
        "mv" => Some(moved(args)),
        "chmod" | "chown" | "chgrp" | "chattr" | "setfacl" => changed(args),
        "dd" => written(args),
        "mkswap" | "wipefs" | "blkdiscard" | "mke2fs" | "cryptsetup" | "mdadm" => {
            Some(operands(args, &Spec::default()))
        }
        _ if name == "mkfs" || name.starts_with("mkfs.") => Some(operands(args, &Spec::new("tLU", "type"))),
        "rsync" => synced(args),
        "tar" | "gtar" | "bsdtar" | "zip" => {
            let removes = args.iter().any(|arg| arg == "--remove-files" || (name == "zip" && arg == "-m"));
            removes.then(|| operands(args, &Spec::new("fC", "file directory")))
        }
        _ => None,
    }
}

fn operands<'a>(args: &'a [String], spec: &Spec) -> Vec<&'a str> {
    options::all(args, spec).1
}

fn moved(args: &[String]) -> Vec<&str> {
    let (found, mut operands) = options::all(args, &Spec::new("St", "suffix target-directory"));
    operands.extend(found.iter().filter(|opt| opt.is("t", "target-directory")).filter_map(|opt| opt.value));
    operands
}

/// Only the recursive form; the first operand is the mode or owner, unless `--reference` or `-x` stands for it.
fn changed(args: &[String]) -> Option<Vec<&str>> {
    let (found, operands) = options::all(args, &Spec::new("", "reference from"));
    let recursive = found.iter().any(|opt| opt.is("R", "recursive"));
    let mode_is_option = found.iter().any(|opt| opt.is("rwxXstugoa", "reference"));
    recursive.then(|| operands.into_iter().skip(usize::from(!mode_is_option)).collect())
}

fn written(args: &[String]) -> Option<Vec<&str>> {
    let files: Vec<&str> =
        args.iter().filter_map(|arg| arg.strip_prefix("of=")).filter(|file| !is_sink(file)).collect();
    (!files.is_empty()).then_some(files)
}

fn is_sink(file: &str) -> bool {
    among(file, "/dev/null /dev/stdout /dev/stderr")
}

/// `rsync --delete` destroys in its last operand, `--remove-source-files` in all the others.
fn synced(args: &[String]) -> Option<Vec<&str>> {
    let spec = Spec::new(
        "efTBM",
        "rsh exclude include filter files-from rsync-path temp-dir partial-dir backup-dir",
    );
    let (found, operands) = options::all(args, &spec);
    let deletes = found.iter().any(|opt| opt.long && (opt.name == "del" || opt.name.starts_with("delete")));
    let removes = found.iter().any(|opt| opt.is("", "remove-source-files"));
    let target = operands.last().copied().filter(|_| deletes);
    let sources = operands.split_last().map_or(&[][..], |(_, sources)| sources).iter().filter(|_| removes);
    (deletes || removes).then(|| {
        // An absolute path that cannot be local stands for a place on another machine.
        let remote = |path: &'_ str| path.contains(':');
        sources.copied().chain(target).map(|path| if remote(path) { "/" } else { path }).collect()
    })
}
