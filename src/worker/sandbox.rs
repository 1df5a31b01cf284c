//! Which confinement was asked for, and which one there is. So far there is none, and the manifest says so.

/// Confinement that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sandbox {
    /// The best that the machine has.
    #[default]
    Auto,
    /// None.
    None,
    /// Writes only below workspace and bundle (Linux).
    Landlock,
    /// A container.
    Docker,
}

impl Sandbox {
    /// As in settings and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Sandbox::Auto => "auto",
            Sandbox::None => "none",
            Sandbox::Landlock => "landlock",
            Sandbox::Docker => "docker",
        }
    }
}

/// The confinement that takes effect.
///
/// # Errors
/// A sentence for people, when confinement is required and there is none.
pub fn effective(requested: Sandbox, required: bool) -> Result<Sandbox, String> {
    if required {
        return Err(format!(
            "worker.require_sandbox is set, but sandbox `{}` is not available here; choose a machine that has it, \
             or set worker.require_sandbox: false",
            requested.name()
        ));
    }
    Ok(Sandbox::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_sandbox_that_is_missing_fails_closed() {
        for requested in [Sandbox::Auto, Sandbox::None, Sandbox::Landlock, Sandbox::Docker] {
            assert_eq!(effective(requested, false), Ok(Sandbox::None));
            assert!(effective(requested, true).is_err_and(|text| text.contains(requested.name())));
        }
    }
}
