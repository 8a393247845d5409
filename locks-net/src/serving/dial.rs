use std::time::Instant;

use super::Machine;
use crate::client::{Dial, Line, Unreached};

impl Dial for Machine {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn dial(&self, by: Instant) -> Result<Line, Unreached> {
        match Self::dial(self, by) {
            Ok(Ok(stream)) => Ok(Line::Unix(stream)),
            Ok(Err(error)) => Err(Unreached::NobodyListens(error)),
            Err(error) => Err(Unreached::Failed(error)),
        }
    }
}
