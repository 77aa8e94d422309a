//! Daraja's two environments: production and sandbox.

/// Daraja environment of an inbox. Exhaustive: Daraja has these two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Real money; `https` and public hosts only.
    #[default]
    Production,
    /// Daraja's sandbox, or a developer's machine.
    Sandbox,
}
