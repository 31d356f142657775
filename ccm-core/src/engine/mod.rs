//! The engine: reconcilers over the four contracts.
