//! Which confinement was asked for, and which one there is. So far there is none, and the manifest says so.

pub use crate::usecase::run::Sandbox;

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
