//! The one writer of state.
