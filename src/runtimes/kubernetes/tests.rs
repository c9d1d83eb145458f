//! What can be told without a cluster.
