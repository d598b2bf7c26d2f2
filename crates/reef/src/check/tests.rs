//! The exit code and the lines. Whole directories are checked in `tests/it`.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::{Kind, ObjectKey, Origin, Problem, Severity};

use super::Checked;
use super::report;

fn info(code: &'static str) -> Problem {
    Problem::new(Severity::Info, code, "x")
}

#[test]
fn the_exit_code_is_that_of_the_worst_problem() {
    assert_eq!(report::exit_code(&[]), 0);
    assert_eq!(report::exit_code(&[info("shadowed")]), 0);
    assert_eq!(report::exit_code(&[info("not-yet-applied")]), 2);
    assert_eq!(
        report::exit_code(&[Problem::warning("unread-field", "x")]),
        2
    );
    assert_eq!(
        report::exit_code(&[Problem::error("unenforced-security", "x")]),
        2
    );
    assert_eq!(
        report::exit_code(&[info("not-yet-applied"), Problem::error("yaml", "x")]),
        1
    );
}

#[test]
fn a_problem_is_one_line_that_begins_with_its_place() {
    let origin = Origin {
        path: Arc::from("a/b.yaml"),
        line: 7,
    };
    let key = ObjectKey::new(Kind::Service, "shop", "web");
    let problem = Problem::error("invalid", "not a port")
        .of(&key)
        .at(&origin)
        .field("spec.ports[0].port");
    let checked = Checked {
        problems: vec![problem],
        objects: BTreeMap::from([(Kind::Service, 2)]),
        services: 1,
        scopes: 1,
    };
    assert_eq!(
        report::text(&checked),
        "a/b.yaml:7: error: Service shop/web: spec.ports[0].port: not a port\n\
         2 objects, 1 services, 1 classes of proxies: 1 errors, 0 warnings, 0 notes\n"
    );
    let json = report::json(&checked);
    assert_eq!(
        (&json["exitCode"], &json["problems"][0]["line"]),
        (&1.into(), &7.into())
    );
}
