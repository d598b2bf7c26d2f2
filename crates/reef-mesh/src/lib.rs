//! reef-mesh (room under construction).
