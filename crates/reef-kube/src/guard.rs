//! A panic ends one attempt of a task, and neither the task nor what it knows.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;

/// The longest wait between panics that follow each other; whatever panics at each attempt costs that little.
const LONGEST: Duration = Duration::from_secs(30);

/// Runs a future; the error is what its panic said. What the future borrowed is as the panic left it.
///
/// # Errors
/// The future panicked.
pub(crate) async fn guarded<F: Future>(future: F) -> Result<F::Output, String> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(|panic| said(&*panic))
}

/// How long to wait after some panics in a row.
pub(crate) fn rest(panics: u32) -> Duration {
    Duration::from_secs(1 << panics.min(8)).min(LONGEST)
}

fn said(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic that says nothing".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_is_an_error_with_its_words() {
        assert_eq!(guarded(async { 7 }).await, Ok(7));
        let failed = guarded(async { panic!("a word") }).await;
        assert_eq!(failed, Err::<(), _>("a word".to_owned()));
        let failed = guarded(async { panic!("{} of them", 2) }).await;
        assert_eq!(failed, Err::<(), _>("2 of them".to_owned()));
    }

    #[test]
    fn rests_grow_to_a_bound() {
        assert_eq!(rest(1), Duration::from_secs(2));
        assert_eq!(rest(u32::MAX), LONGEST);
    }
}
