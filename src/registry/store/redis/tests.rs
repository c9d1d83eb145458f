//! What only the store in Redis can do.
