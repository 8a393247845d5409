//! Mistakes that have to be found.
