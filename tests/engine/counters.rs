//! The counters tell what happened.
