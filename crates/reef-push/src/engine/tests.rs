//! Proxies, classes and pushes on small meshes.
