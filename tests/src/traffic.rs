//! Traffic that goes on while something changes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::call::{Answer, Call};
use crate::control::ask;
use crate::mesh::wait;

/// So many calls are made before the change and after it, however slow the machine is.
const ENOUGH: u32 = 20;

/// Between two calls: what changes needs the processor, too.
const PAUSE: Duration = Duration::from_millis(2);

/// How long so many calls may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls again and again, by the app at `socket`, while `play` runs; returns what `play` gave.
///
/// # Errors
/// What `play` failed with, or the first call without a `good` answer and how many there were.
pub fn under<T>(
    socket: &Path,
    call: &Call,
    good: impl Fn(&Answer) -> bool + Sync,
    play: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let (stop, made) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match ask(socket, call) {
                    Ok(answer) if good(&answer) => {}
                    other => wrong.push(format!("{other:?}")),
                }
                made.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            wrong
        });
        let some_calls = || {
            let wanted = made.load(Ordering::Relaxed) + ENOUGH;
            let enough = || made.load(Ordering::Relaxed) >= wanted;
            ensure!(wait(LIMIT, enough), "the traffic stands still");
            Ok(())
        };
        let played = some_calls().and_then(|()| play());
        let after = some_calls();
        stop.store(true, Ordering::Relaxed);
        let Ok(wrong) = traffic.join() else {
            bail!("the traffic panicked");
        };
        let value = played?;
        after?;
        let made = made.load(Ordering::Relaxed);
        let count = wrong.len();
        ensure!(wrong.is_empty(), "{count} of {made} calls: {:?}", wrong[0]);
        Ok(value)
    })
}
