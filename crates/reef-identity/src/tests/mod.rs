//! Who may do what, which tokens are believed, and which certificates are made.

mod authorizer;
mod certs;
mod cluster;
mod kit;
mod reviews;
mod tokens;
