//! Property 5 of `style-anchors.md` 5.12: model clients and random interleavings. `REEF_SIM_SEEDS` sets how many seeds
//! run; a failure prints its seed.

mod delta;
mod judge;
mod sotw;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType};

use crate::kit::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const ON_DEMAND: [&str; 2] = ["x", "y"];

/// Splitmix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn content_of(resource: &EncodedResource) -> String {
    let text = String::from_utf8(resource.value().to_vec()).unwrap();
    text.split_once('=').unwrap().1.to_owned()
}

/// A random change of one of `types`.
fn change(random: &mut Random, world: &mut World, types: &[ResourceType], trace: &mut Vec<String>) {
    let ty = random.pick(types);
    let on_demand = matches!(ty, Cluster | Endpoint) && random.chance(25);
    let name = if on_demand {
        random.pick(&ON_DEMAND)
    } else {
        random.pick(&NAMES)
    };
    let content = match random.below(10) {
        0 => "bad1".to_owned(),
        1 => "bad2".to_owned(),
        n => (n % 4).to_string(),
    };
    let remove = random.chance(25);
    trace.push(format!("# {ty} {name}={content} remove={remove}"));
    if remove {
        world.remove(ty, name);
    } else if ON_DEMAND.contains(&name) {
        world.set_on_demand(ty, name, &content);
    } else {
        world.set(ty, name, &content);
    }
}

/// A simulated client and its server.
trait Simulation: Sized {
    /// What changes.
    const TYPES: &'static [ResourceType];

    fn new(seed: u64) -> Self;

    /// What chooses, what changes, and what is remembered of both.
    fn parts(&mut self) -> (&mut Random, &mut World, &mut Vec<String>);

    fn hand(&mut self) -> &mut Hand;

    /// Whether the client has said something that is not delivered.
    fn has_said(&self) -> bool;

    /// Whether something is on its way to the client.
    fn is_told(&self) -> bool;

    /// The server says one thing, if it has something to say.
    fn pull(&mut self) -> bool;

    /// The client takes one response.
    fn receive(&mut self);

    /// The server takes one request.
    fn deliver(&mut self);

    /// The client's `initial_fetch_timeout`; whether that changed anything.
    fn fetch_timer(&mut self) -> bool;

    /// The client asks for a name more or less.
    fn free_subscription(&mut self);

    /// Whatever was on its way is lost.
    fn reconnect(&mut self);

    /// The client holds what it should.
    fn check(&mut self);

    /// One event.
    fn step(&mut self) {
        let (random, world, trace) = self.parts();
        match random.below(100) {
            0..15 => change(random, world, Self::TYPES, trace),
            15..30 => self.hand().publish(),
            30..36 => self.free_subscription(),
            36..57 => {
                self.pull();
            }
            57..77 => self.receive(),
            77..97 => self.deliver(),
            97..99 => self.hand().wait(Duration::from_millis(700)),
            _ => self.reconnect(),
        }
    }

    /// Everything is delivered; time passes only where the server waits for it.
    fn settle(&mut self) {
        self.hand().publish();
        for _ in 0..10_000 {
            let moved = self.has_said() || self.is_told();
            self.deliver();
            self.receive();
            if self.pull() || moved || self.has_said() || self.fetch_timer() {
                continue;
            }
            let now = self.hand().now;
            match self.hand().state.next_deadline(now) {
                Some(at) => self.hand().now = at,
                None => return,
            }
        }
        panic!("never quiet");
    }

    /// Nothing is said when nothing happens.
    fn check_quiet(&mut self) {
        self.hand().publish();
        assert!(!self.pull(), "said without cause");
    }
}

fn any_interleaving<S: Simulation>() {
    let seeds = std::env::var("REEF_SIM_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(300);
    for seed in 0..seeds {
        let mut sim = S::new(seed);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..4 {
                for _ in 0..60 {
                    sim.step();
                }
                sim.settle();
                sim.check();
                sim.check_quiet();
            }
        }));
        let (_, _, trace) = sim.parts();
        let tail = trace.len().saturating_sub(60);
        assert!(
            outcome.is_ok(),
            "seed {seed}, last events:\n{}",
            trace[tail..].join("\n")
        );
    }
}

#[test]
fn any_interleaving_ends_with_exactly_the_subscribed_resources_delta() {
    any_interleaving::<delta::Sim>();
}

#[test]
fn any_interleaving_ends_with_exactly_the_subscribed_resources_sotw() {
    any_interleaving::<sotw::Sim>();
}
