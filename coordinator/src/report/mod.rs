//! Front, statistics and rendering.
