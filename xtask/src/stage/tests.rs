//! Tests of the stage runner.

use std::process::Command;
use std::time::Duration;

use super::{Count, Run, run_tests};

#[test]
fn a_result_line_is_counted_and_other_lines_are_not() {
    let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
    assert_eq!(
        Count::of_line(line),
        Some(Count {
            passed: 12,
            failed: 3
        })
    );
    assert_eq!(Count::of_line("test result_is_read ... ok"), None);
}

#[test]
fn a_failed_stage_fails_the_run_but_later_stages_still_run() {
    let mut run = Run::start();
    let minute = Duration::from_secs(60);
    assert!(!run.stage("bad", minute, |_| anyhow::bail!("no")));
    let mut ran = false;
    assert!(run.stage("good", minute, |_| {
        ran = true;
        Ok(())
    }));
    assert!(ran);
    let error = run.finish().unwrap_err().to_string();
    assert_eq!(error, "failed: bad");
}

#[test]
fn a_test_command_that_ran_nothing_is_a_failure() {
    let mut total = Count::default();
    let error = run_tests(&mut Command::new("true"), &mut total).unwrap_err();
    assert!(error.to_string().contains("ran no test"), "{error}");
}
