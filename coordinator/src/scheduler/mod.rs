//! The pure scheduler core.
