//! Text → documents → objects.
