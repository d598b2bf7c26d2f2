//! Formats Envoy takes and formats it rejects. `reef-gen/tests/envoy` asks a real one about the same kinds.

use super::{LogValue, check_text};

#[test]
fn formats_envoy_takes_are_taken() {
    for format in [
        "",
        "no operator",
        "100%% of %DURATION%",
        "%%%DURATION%%%",
        "[%START_TIME(%Y-%m-%dT%T%z (%A))%] %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "%REQ(a):7%%RESP(b)%",
        "%REQ(?a)%",
        "%DURATION()%",
        "%START_TIME()%",
        "%REQ_WITHOUT_QUERY(:PATH)% %METADATA(CLUSTER:istio:services)%",
        "%FILTER_STATE(k:FIELD:x)% %UPSTREAM_FILTER_STATE(k)%",
        "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms)%",
        "%CEL(request.headers['x-y'].z)%",
        "%CEL(response.code >= 400 ? 'bad' : 'good'):3%",
        "%PATH(NQ:ORIG)% %QUERY_PARAMS(DECODED):4% %GRPC_STATUS(NUMBER)%",
        "%XFCC_VALUE(URI):4%",
    ] {
        assert_eq!(check_text(format), Ok(()), "{format}");
    }
}

#[test]
fn formats_envoy_rejects_are_refused_by_name() {
    for (format, part) in [
        ("%NOPE%", "NOPE"),
        ("100%", "command operator"),
        ("%lower%", "%lower%"),
        ("%REQ%", "REQ"),
        ("%REQ()%", "REQ"),
        ("%REQ(a", "command operator"),
        ("%REQ(a b)%", "(a b)"),
        ("%REQ(a?b?c)%", "(a?b?c)"),
        ("%REQ(:)%", "(:)"),
        ("%REQ(a)%REQ(b)%", "command operator"),
        ("%REQ(a):x%", "command operator"),
        ("%REQ(a):99999999999999999999999%", "command operator"),
        ("%START_TIME(%Y\n%m)%", "command operator"),
        ("%START_TIME:5%", "length"),
        ("%DURATION(x)%", "DURATION"),
        ("%DURATION:5%", "DURATION"),
        ("%GRPC_STATUS(FOO)%", "FOO"),
        ("%GRPC_STATUS:3%", "length"),
        ("%METADATA(FOO:a)%", "FOO"),
        ("%FILTER_STATE(k:FIELD)%", "FIELD"),
        ("%COMMON_DURATION(a)%", "(a)"),
        ("%CEL(a b)%", "(a b)"),
        ("%CEL(a.in)%", "(a.in)"),
        ("%CEL(a[])%", "(a[])"),
        ("%CEL()%", "CEL"),
        ("%CEL(string(a))%", "(string(a))"),
        ("%COALESCE(x)%", "COALESCE"),
        ("%PATH(X)%", "PATH"),
    ] {
        let reason = check_text(format).unwrap_err();
        assert!(reason.contains(part), "{format}: {reason}");
    }
}

#[test]
fn texts_of_a_json_format_are_checked_wherever_they_are() {
    assert!(LogValue::parse(r#"{"a": [{"b": "%DURATION%"}], "%NOPE%": 1}"#).is_ok());
    let reason = LogValue::parse(r#"{"a": [{"b": "%NOPE%"}]}"#).unwrap_err();
    assert!(reason.contains("NOPE"), "{reason}");
}
