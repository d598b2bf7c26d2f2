//! Command lines and what they mean.

use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::*;

fn serve(line: &[&str]) -> ServeArgs {
    let line = ["reef", "serve"].iter().chain(line);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn serve_listens_on_loopback_unless_told_otherwise() {
    let args = serve(&["--config-dir", "a", "--config-dir", "b"]);
    assert_eq!(args.config_dir, [PathBuf::from("a"), PathBuf::from("b")]);
    for (addr, port) in [
        (args.grpc_addr, 15010),
        (args.http_addr, 8080),
        (args.monitoring_addr, 15014),
    ] {
        assert!(addr.ip().is_loopback());
        assert_eq!(addr.port(), port);
    }
    assert!(!args.insecure_xds);
}

#[test]
fn serve_reads_directories_or_a_cluster_and_never_both() {
    let args = serve(&[]);
    assert!(args.config_dir.is_empty() && args.cluster.kubeconfig.is_none());
    let cluster = args.cluster.settings();
    assert_eq!(
        cluster.mesh_config_map,
        ("istio-system".to_owned(), "istio".to_owned())
    );

    let args = serve(&[
        "--kubeconfig",
        "k",
        "--context",
        "c",
        "--mesh-config-map",
        "a/b",
    ]);
    let cluster = args.cluster.settings();
    assert_eq!(cluster.connect.kubeconfig, Some(PathBuf::from("k")));
    assert_eq!(cluster.connect.context.as_deref(), Some("c"));
    assert_eq!(cluster.mesh_config_map, ("a".to_owned(), "b".to_owned()));

    for wrong in [
        &["serve", "--config-dir", "a", "--kubeconfig", "k"][..],
        &["serve", "--context", "c"],
        &["serve", "--mesh-config-map", "istio"],
        &["serve", "--mesh-config-map", "A/b"],
        &["check"],
        &["check", "a", "--from-cluster"],
    ] {
        let line = ["reef"].iter().chain(wrong);
        assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
    }
}

#[test]
fn every_serve_option_has_an_environment_variable() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for arg in serve
        .get_arguments()
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
    {
        let env = arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let expected = match arg.get_id().as_str() {
            // As every pod template names it.
            "namespace" => "POD_NAMESPACE".to_owned(),
            id => format!("REEF_{}", id.to_uppercase()),
        };
        assert_eq!(env, expected);
    }
}

#[test]
fn times_are_read_as_people_write_them() {
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
    assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
    assert_eq!(duration("0"), Ok(Duration::ZERO));
    for wrong in ["", "5", "s", "-1s", "1d", "1e400s", "1 s"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}
