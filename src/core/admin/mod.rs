//! The admin socket's language: commands in, replies out.
