//! Options of a command line in the usual form: `-abc`, `-n5`, `-n 5`, `--name`, `--name=value`, `--name value`, `--`.

/// Which options take a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spec {
    /// Letters of the short ones.
    pub short: &'static str,
    /// Names of the long ones, separated by blanks.
    pub long: &'static str,
    /// True if the two lists name the options that take none, and all others do.
    pub inverse: bool,
}

impl Spec {
    /// These take a value, all others do not.
    pub const fn new(short: &'static str, long: &'static str) -> Self {
        Spec { short, long, inverse: false }
    }

    fn short_takes(&self, letter: char) -> bool {
        self.short.contains(letter) != self.inverse
    }

    fn long_takes(&self, name: &str) -> bool {
        let mut known = self.long.split(' ');
        match self.inverse {
            true => !known.any(|long| long == name),
            // Abbreviations are accepted by GNU programs.
            false => name.len() > 1 && known.any(|long| long.starts_with(name)),
        }
    }
}

/// One option as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opt<'a> {
    /// Letter or name, without dashes.
    pub name: &'a str,
    /// Whether it was written with two dashes.
    pub long: bool,
    /// Its value.
    pub value: Option<&'a str>,
}

impl Opt<'_> {
    /// Whether it is one of these letters, or one of these names (or an abbreviation of one).
    pub fn is(&self, letters: &str, names: &str) -> bool {
        match self.long {
            true => self.name.len() > 1 && names.split(' ').any(|name| name.starts_with(self.name)),
            false => letters.contains(self.name),
        }
    }
}

/// Options in front of the first operand, and the position of that operand.
pub(super) fn leading<'a>(args: &'a [String], spec: &Spec) -> (Vec<Opt<'a>>, usize) {
    let mut options = Vec::new();
    let mut at = 0;
    while at < args.len() {
        if args[at] == "--" {
            return (options, at + 1);
        }
        match step(args, at, spec, &mut options) {
            Some(next) => at = next.min(args.len()),
            None => break,
        }
    }
    (options, at)
}

/// All options and all operands, wherever they stand.
pub(super) fn all<'a>(args: &'a [String], spec: &Spec) -> (Vec<Opt<'a>>, Vec<&'a str>) {
    let (mut options, mut operands) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < args.len() {
        if args[at] == "--" {
            operands.extend(args[at + 1..].iter().map(String::as_str));
            break;
        }
        at = step(args, at, spec, &mut options).unwrap_or_else(|| {
            operands.push(args[at].as_str());
            at + 1
        });
    }
    (options, operands)
}

/// Reads one option and puts it (or the letters of one cluster) into `found`; says where the next token is, or `None` if this is an operand.
pub(super) fn step<'a>(
    args: &'a [String],
    at: usize,
    spec: &Spec,
    found: &mut Vec<Opt<'a>>,
) -> Option<usize> {
    let following = || args.get(at + 1).map(String::as_str);
    if let Some(long) = args[at].strip_prefix("--") {
        let (name, value, used) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value), 1),
            None if spec.long_takes(long) => (long, following(), 2),
            None => (long, None, 1),
        };
        found.push(Opt { name, long: true, value });
        return Some(at + used);
    }
    let cluster = args[at].strip_prefix('-').filter(|cluster| !cluster.is_empty())?;
    for (start, letter) in cluster.char_indices() {
        let (name, rest) = cluster[start..].split_at(letter.len_utf8());
        if !spec.short_takes(letter) {
            found.push(Opt { name, long: false, value: None });
            continue;
        }
        let (value, used) = if rest.is_empty() { (following(), 2) } else { (Some(rest), 1) };
        found.push(Opt { name, long: false, value });
        return Some(at + used);
    }
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn values_are_found_in_every_spelling() {
        let spec = Spec::new("n", "name");
        for line in
            ["-n 5 x", "-n5 x", "-vn 5 x", "-vn5 x", "--name 5 x", "--name=5 x", "--na 5 x", "-v -n 5 -- x"]
        {
            let words = args(line);
            let (options, at) = leading(&words, &spec);
            assert_eq!(words.get(at).map(String::as_str), Some("x"), "{line}");
            assert_eq!(options.last().and_then(|opt| opt.value), Some("5"), "{line}");
        }
    }

    #[test]
    fn options_after_operands_are_found_too_until_two_dashes() {
        let words = args("a -r b --force -- -c");
        let (options, operands) = all(&words, &Spec::default());
        assert_eq!(operands, ["a", "b", "-c"]);
        assert!(options.iter().any(|opt| opt.is("r", "recursive")));
        assert!(options.iter().any(|opt| opt.is("f", "force")));
    }

    #[test]
    fn a_value_that_is_missing_is_none() {
        let words = args("-n");
        assert_eq!(
            leading(&words, &Spec::new("n", "")),
            (vec![Opt { name: "n", long: false, value: None }], 1)
        );
    }
}
