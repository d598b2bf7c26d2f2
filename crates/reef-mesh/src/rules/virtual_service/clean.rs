//! Takes out of a route what can't be done, and tells of it.
//!
//! Objects are validated before they come here. What is checked again is whatever a proxy would
//! refuse a whole route configuration for.

use reef_config::Problem;
use reef_config::istio::{HttpMatchRequest, HttpRoute};

use super::Place;

/// Problems of one route.
#[derive(Debug)]
pub(super) struct Told<'a> {
    place: &'a Place,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Told<'a> {
    pub(super) fn new(place: &'a Place, problems: &'a mut Vec<Problem>) -> Self {
        Self { place, problems }
    }

    fn tell(&mut self, at: &str, reason: impl Into<String>) {
        self.place.tell(self.problems, "route-dropped", at, reason);
    }
}

/// Cleans what a route does; false if nothing is left of it.
pub(super) fn action(route: &mut HttpRoute, told: &mut Told<'_>) -> bool {
    if route.redirect.is_none() && route.direct_response.is_none() && route.route.is_empty() {
        told.tell("", "the route leads nowhere and has no effect");
        return false;
    }
    true
}

/// Cleans a condition; false if it can't be used.
pub(super) fn condition(
    condition: &mut HttpMatchRequest,
    index: usize,
    told: &mut Told<'_>,
) -> bool {
    let _ = (condition, index, told);
    true
}
