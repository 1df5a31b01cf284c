//! Interpreters that take their program from an argument or from standard input.

use super::command::{Command, Findings};
use super::program::{among, unversioned};
use super::shells::is_stdin;

/// How one interpreter is called.
struct Row {
    names: &'static str,
    /// Letters of options that hold code.
    code: &'static str,
    /// Names of options, and sub-commands, that hold code.
    code_long: &'static str,
    /// Letters of options that take another value.
    valued: &'static str,
    /// Names of options that take another value.
    valued_long: &'static str,
    /// Letters, and names, of options after which no program is read from standard input.
    informs: &'static str,
    informs_long: &'static str,
    /// Whether it reads a program from standard input if no file is named.
    stdin: bool,
}

const fn row(names: &'static str, code: &'static str, code_long: &'static str, valued: &'static str) -> Row {
    Row {
        names,
        code,
        code_long,
        valued,
        valued_long: "",
        informs: "vVh",
        informs_long: "version help",
        stdin: true,
    }
}

impl Row {
    const fn valued_long(self, valued_long: &'static str) -> Self {
        Row { valued_long, ..self }
    }
    const fn informs(self, informs: &'static str, informs_long: &'static str) -> Self {
        Row { informs, informs_long, ..self }
    }
    /// Without a file it does something else than reading a program.
    const fn no_stdin(self) -> Self {
        Row { stdin: false, ..self }
    }
}

const ROWS: &[Row] = &[
    row("python pypy ipython jython micropython", "c", "", "WXm").informs("Vhm", "version help help-all"),
    row("perl raku rakudo", "eE", "", "IMmFxCDi0l"),
    row("ruby jruby truffleruby irb", "e", "", "IrCEKTWFx").informs("vhSC", "version help copyright"),
    row("node nodejs", "ep", "eval print", "rCL")
        .valued_long("require import loader env-file conditions test-name-pattern")
        .informs("vh", "version help test run v8-options completion-bash"),
    row("deno", "", "eval repl", "").informs("Vh", "version help"),
    row("bun", "ep", "eval print exec repl", "rc").no_stdin(),
    row("tsx ts-node ts-node-esm swc-node", "ep", "eval print", "rPO")
        .valued_long("project tsconfig require"),
    row("php php-cgi", "rBRE", "run process-begin process-code process-end interactive", "cdfFStz")
        .valued_long("define php-ini file process-file server docroot")
        .informs("vhimSfF", "version help info modules ini server file rf rc re ri"),
    row("lua luajit texlua", "e", "", "lj").informs("v", "version"),
    row("tclsh wish", "", "", "").informs("", ""),
    row("expect", "c", "", "fdD").informs("vf", "version"),
    row("osascript", "e", "", "lsi").informs("", ""),
    row("r rscript littler", "e", "", "fgd")
        .valued_long("default-packages args")
        .informs("f", "version help file"),
    row("julia", "eE", "eval print", "CJHLpmt")
        .valued_long("project sysimage home load threads procs machine-file")
        .informs("vh", "version help"),
    row("elixir iex erl", "eS", "eval rpc-eval", "r").informs("vh", "version help"),
    row("groovy scala kotlin clojure clj bb jshell", "eEM", "eval execute", "ci")
        .informs("vVh", "version help")
        .no_stdin(),
    row("guile racket scheme gosh csi chibi-scheme sbcl clisp ecl", "ex", "eval", "lILs")
        .valued_long("load script")
        .informs("vVh", "version help script load"),
    row("ghc runghc runhaskell", "e", "", "").no_stdin(),
    row("swift", "e", "", "").no_stdin(),
    row("ocaml utop", "e", "", "I").informs("v", "version help"),
    row("octave octave-cli matlab", "r", "eval batch", "").no_stdin(),
    row("gdb lldb rust-gdb rust-lldb cgdb", "oQO", "ex iex eval-command init-eval-command one-line", "xpdsc")
        .no_stdin(),
    row("vim vi nvim ex view gvim rvim vimdiff vim.basic vim.tiny vim.nox vim.gtk3", "c", "cmd", "uUTwWsiS")
        .no_stdin(),
    row("emacs emacsclient", "e", "eval execute", "luqf").no_stdin(),
    row("jrunscript", "e", "", "lf"),
    row("pry", "e", "exec", "r"),
    row("nix-instantiate", "E", "expr", "A").no_stdin(),
];

const INSTEAD: &str = "put the program into a file of the workspace and run that";

pub(super) fn inspect(name: &str, command: &Command, out: &mut Findings) {
    let args = command.args();
    match ROWS.iter().find(|row| among(unversioned(name), row.names)).map(|row| usage(row, args)) {
        Some(Use::Code) => {
            out.forbid("interpreter", format!("`{name}` would run code from its arguments"), INSTEAD);
        }
        Some(Use::Stdin) => {
            out.forbid("interpreter", format!("`{name}` would run code from its standard input"), INSTEAD);
        }
        Some(Use::Other) | None => {}
    }
}

/// Whether `name` is an interpreter and these arguments hold code for it.
pub(super) fn takes_code(name: &str, args: &[String]) -> bool {
    let found = ROWS.iter().find(|row| among(unversioned(name), row.names));
    found.is_some_and(|row| usage(row, args) == Use::Code)
}

#[derive(PartialEq)]
enum Use {
    Code,
    Stdin,
    Other,
}

fn usage(row: &Row, args: &[String]) -> Use {
    let mut at = 0;
    let mut informs = false;
    while let Some(token) = args.get(at) {
        at += 1;
        if token == "--" {
            break;
        }
        if is_editor_command(row, token) {
            return Use::Code;
        }
        if !token.starts_with('-') || token == "-" {
            at -= 1;
            break;
        }
        let long = token.trim_start_matches('-');
        let name = long.split('=').next().unwrap_or(long);
        if name.len() > 1 && among(name, row.code_long) {
            return Use::Code;
        }
        if token.starts_with("--") || (name.len() > 1 && among(name, row.informs_long)) {
            informs |= among(name, row.informs_long);
            at += usize::from(!long.contains('=') && among(name, row.valued_long));
            continue;
        }
        match cluster(row, long, &mut at) {
            Some(Use::Code) => return Use::Code,
            Some(_) => informs = true,
            None => {}
        }
    }
    match args.get(at).map(String::as_str) {
        Some(word) if matches!(row.names, "deno" | "bun") && among(word, row.code_long) => Use::Code,
        Some(file) if is_stdin(file) && row.stdin => Use::Stdin,
        None if row.stdin && !informs => Use::Stdin,
        _ => Use::Other,
    }
}

/// Looks through letters like `-Bc`; `Some(Other)` for one that only informs.
fn cluster(row: &Row, letters: &str, at: &mut usize) -> Option<Use> {
    let mut found = None;
    for (start, letter) in letters.char_indices() {
        if row.code.contains(letter) {
            return Some(Use::Code);
        }
        if row.informs.contains(letter) {
            found = Some(Use::Other);
        }
        if row.valued.contains(letter) {
            let attached = start + letter.len_utf8() < letters.len();
            // These letters of perl and ruby take a value only if it is attached.
            let optional =
                matches!(letter, 'i' | '0' | 'l' | 'F' | 'C' | 'D' | 'x') && row.names.starts_with("perl");
            // Numbers attached to -0 and -l may be followed by more letters: `-0777ne`.
            let digits = matches!(letter, '0' | 'l') && row.names.starts_with("perl");
            if digits {
                continue;
            }
            *at += usize::from(!attached && !optional);
            break;
        }
    }
    found
}

/// `vim +cmd`, except `vim +12`.
fn is_editor_command(row: &Row, token: &str) -> bool {
    let after = token.strip_prefix('+').filter(|_| row.names.starts_with("vim"));
    after.is_some_and(|text| !text.is_empty() && !text.chars().all(|c| c.is_ascii_digit()))
}
