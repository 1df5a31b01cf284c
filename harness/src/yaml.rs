//! Reads YAML files of the harness: profiles and objectives. The only file that names `serde_yaml`.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Reads a file. Unknown keys are refused where the type says `deny_unknown_fields`.
///
/// # Errors
/// A sentence that names the file and, where known, line and column.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    parse(&text, &path.display().to_string())
}

/// Reads text that came from the file `name`.
///
/// # Errors
/// As those of [`read`].
pub fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T, String> {
    serde_yaml::from_str(text).map_err(|why| match why.location() {
        // The library appends the place in words; the form of compilers is what editors can jump to.
        Some(at) => {
            let what = why.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            format!("{name}:{}:{}: {what}", at.line(), at.column())
        }
        None => format!("{name}: {why}"),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Point {
        x: u32,
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        assert_eq!(super::parse::<Point>("x: 1\n", "p.yaml").unwrap().x, 1);
        let why = super::parse::<Point>("x: 1\nyy: 2\n", "p.yaml").unwrap_err();
        assert!(why.starts_with("p.yaml:2:1: unknown field `yy`"), "{why}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let why = super::read::<Point>(std::path::Path::new("/nowhere/p.yaml")).unwrap_err();
        assert!(why.starts_with("/nowhere/p.yaml: "), "{why}");
    }
}
