//! The kit over the plain arbiter: what fails for the engine and not here is the engine's fault.

use locks_conformance::conformance;

use crate::arbiter::Arbiter;

conformance!(sound, Arbiter::sound);
