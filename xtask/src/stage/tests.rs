//! Tests of the stage runner.

use std::process::Command;
use std::time::Duration;

use super::{Count, Run, Stage, is_well, now};

fn stage(seconds: u64) -> Stage {
    Stage::new("test-of-stage", now() + Duration::from_secs(seconds))
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

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
    assert!(!run.stage("bad", |_| anyhow::bail!("no")));
    let mut ran = false;
    assert!(run.stage("good", |_| {
        ran = true;
        Ok(())
    }));
    assert!(ran);
    let error = run.finish().unwrap_err().to_string();
    assert_eq!(error, "failed: bad");
}

#[test]
fn a_test_command_that_ran_nothing_is_a_failure() {
    let error = stage(60).tests(&mut Command::new("true")).unwrap_err();
    assert!(error.to_string().contains("ran no test"), "{error}");
}

#[test]
fn both_outputs_are_kept_and_counted() {
    let mut stage = stage(60);
    let line = "echo 'test a ... ok'; echo 'test b ... FAILED' >&2; \
                echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
    let error = stage.tests(&mut shell(line)).unwrap_err().to_string();
    assert!(error.contains("101"), "{error}");
    assert_eq!((stage.count.passed, stage.count.failed), (1, 1));
    assert_eq!(stage.tail.len(), 2, "{:?}", stage.tail);
    assert_eq!(stage.tail[0], "test b ... FAILED");
}

#[test]
fn a_command_that_hangs_is_ended() {
    let error = stage(1)
        .run(&mut shell("echo begun; sleep 30"))
        .unwrap_err();
    assert!(error.to_string().contains("it hung"), "{error}");
}

#[test]
fn only_good_news_is_left_out_of_the_end() {
    for line in [
        "",
        "   Compiling a v0.1.0",
        "running 3 tests",
        "test a::b ... ok",
    ] {
        assert!(is_well(line), "{line}");
    }
    for line in [
        "error: no",
        "running away",
        "test a ... FAILED",
        "test result: FAILED. 1",
    ] {
        assert!(!is_well(line), "{line}");
    }
}

#[test]
fn a_stage_that_is_impossible_is_told_and_is_no_failure() {
    let mut run = Run::start();
    assert!(run.stage("impossible", |stage| {
        stage.leave_out("no namespaces");
        Ok(())
    }));
    assert_eq!(run.done[0].verdict(), "left out: no namespaces");
    let failed = !run.stage("failed", |stage| {
        stage.leave_out("no namespaces");
        stage.run(&mut Command::new("false"))
    });
    assert!(failed);
    assert_eq!(run.done[1].verdict(), "FAILED");
}
