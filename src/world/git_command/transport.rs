//! Which settings a call to a remote needs from the user's code repository, and how they travel: in
//! the environment of that one call, never in a file, because tokens are short-lived and secret.

use std::ffi::OsString;
use std::process::Command;

/// Keys that are asked for, as a regular expression for `git config --get-regexp`.
pub const WANTED: &str =
    r"^(http|credential|url|ssh)\.|^core\.sshcommand$|^safe\.|^remote\..*\.(url|proxy|proxyauthmethod)$";

/// One value of the user's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Whether it stands in the code repository itself; other scopes reach every call anyway.
    pub local: bool,
    /// Key; section and variable in lower case.
    pub key: String,
    /// Value.
    pub value: String,
}

/// Whether a key belongs to a transport.
#[must_use]
pub fn is_wanted(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let section = key.split('.').next().unwrap_or_default();
    matches!(section, "http" | "credential" | "url" | "ssh" | "safe") || key == "core.sshcommand"
}

/// Reads the output of `git config --show-scope -z --get-regexp`: `scope NUL key LF value NUL`. What
/// is not UTF-8 is left out; a key without a value means `true`.
#[must_use]
pub fn parse(output: &[u8]) -> Vec<Setting> {
    let mut fields = output.split(|byte| *byte == 0);
    let mut found = Vec::new();
    while let (Some(scope), Some(entry)) = (fields.next(), fields.next()) {
        let Ok(entry) = std::str::from_utf8(entry) else {
            continue;
        };
        let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
        if !key.is_empty() {
            let local = scope == b"local" || scope == b"worktree";
            found.push(Setting { local, key: key.to_owned(), value: value.to_owned() });
        }
    }
    found
}

/// The pairs to hand over for one URL. A proxy that belongs to a named remote with this URL becomes
/// the URL's proxy, because the call names no remote.
#[must_use]
pub fn for_call(settings: &[Setting], url: &str) -> Vec<(OsString, OsString)> {
    settings
        .iter()
        .filter(|setting| setting.local)
        .filter_map(|setting| {
            let key = match remote_and_variable(&setting.key) {
                None => setting.key.clone(),
                Some((name, variable)) if variable != "url" && has_url(settings, name, url) => {
                    format!("http.{url}.{variable}")
                }
                Some(_) => return None,
            };
            Some((key.into(), setting.value.clone().into()))
        })
        .collect()
}

/// Puts the pairs into the environment of the command (`GIT_CONFIG_COUNT`, git 2.31).
pub fn hand_over(command: &mut Command, pairs: &[(OsString, OsString)]) {
    if pairs.is_empty() {
        return;
    }
    command.env("GIT_CONFIG_COUNT", pairs.len().to_string());
    for (at, (key, value)) in pairs.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{at}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
    }
}

/// Whether git would take this for a place on this machine: then no credentials matter, and the
/// few milliseconds for reading them are saved. The rule is git's own: a colon before the first slash
/// makes a host.
#[must_use]
pub fn is_path(url: &str) -> bool {
    if url.starts_with("file://") {
        return true;
    }
    let host = url.split('/').next().unwrap_or_default();
    !host.contains(':')
}

fn remote_and_variable(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("remote.")?.rsplit_once('.')
}

fn has_url(settings: &[Setting], name: &str, url: &str) -> bool {
    let key = format!("remote.{name}.url");
    settings.iter().any(|other| other.key == key && other.value == url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(output: &[u8], url: &str) -> Vec<(String, String)> {
        for_call(&parse(output), url)
            .into_iter()
            .map(|(key, value)| (key.into_string().unwrap(), value.into_string().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_repository_s_own_settings_are_handed_over() {
        let output = b"global\0http.proxy\nhttp://a\0local\0http.https://h/.extraheader\nAUTH x\ny\0local\0http.emptyauth\0";
        let want = [
            ("http.https://h/.extraheader".to_owned(), "AUTH x\ny".to_owned()),
            ("http.emptyauth".to_owned(), "true".to_owned()),
        ];
        assert_eq!(pairs(output, "https://h/r"), want);
    }

    #[test]
    fn a_named_remote_s_proxy_follows_its_url() {
        let output = b"local\0remote.origin.url\nhttps://h/r\0local\0remote.origin.proxy\nsocks5://p\0local\0remote.other.proxy\nhttp://q\0";
        let want = [("http.https://h/r.proxy".to_owned(), "socks5://p".to_owned())];
        assert_eq!(pairs(output, "https://h/r"), want);
        assert!(pairs(output, "https://h/else").is_empty());
    }

    #[test]
    fn garbage_is_no_setting() {
        assert!(parse(b"").is_empty());
        assert!(parse(b"local\0\xff\n\0local").is_empty());
    }

    #[test]
    fn paths_and_hosts_are_told_apart_as_git_does() {
        for path in ["/srv/hub.git", "file:///srv/hub.git", "../hub", "./a:b", "hub"] {
            assert!(is_path(path), "{path}");
        }
        for host in ["https://h/r", "git@h:r", "ssh://h/r", "h:/srv/r", "git://127.0.0.1/r"] {
            assert!(!is_path(host), "{host}");
        }
    }
}
